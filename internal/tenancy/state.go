package tenancy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// A state is a schema with the read models of a workspace as they were at a moment. It lasts as long as the command that made it. A login of
// the schema's own name reads it, and nothing else; besides that login only the owner reads it. The command holds a lock on the
// name. A state whose name nobody has locked was left by a command that was killed.

// stateLife is the longest life of the password of a state's login.
const stateLife = 24 * time.Hour

// InState calls use with a new state, and drops the state afterwards:
//
//  1. States whose names nobody has locked are dropped.
//  2. A transaction locks a new name, and stays open to the end.
//  3. use makes the schema of that name, and works with it.
//  4. That transaction drops the schema and its login.
//
// When the process is killed anywhere, the next call drops what is there, or a server does (jobs/retention.go).
func (t *Tenancy) InState(ctx context.Context, w pg.Workspace, use func(ctx context.Context, s pg.Shadow) error) error {
	if err := t.DropStates(ctx); err != nil {
		return err
	}
	s := pg.NewState(w)
	lasting := context.WithoutCancel(ctx)
	var used error
	err := t.db.Admin(lasting, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local idle_in_transaction_session_timeout = '1min'`); err != nil {
			return err
		}
		if _, err := tryLockState(ctx, tx, s.Schema()); err != nil {
			return err
		}
		used = pg.KeepAlive(ctx, tx, func(ctx context.Context) error { return use(ctx, s) })
		soon, cancel := context.WithTimeout(lasting, time.Minute)
		defer cancel()
		return dropState(soon, tx, s.Schema())
	})
	return errors.Join(used, err)
}

// OpenState makes a login for a state that is filled, with the state's name, and returns it with its password. The login reads the read models, and
// the views of analysts over them, except the view of the log: a state has no log.
func (t *Tenancy) OpenState(ctx context.Context, s pg.Shadow) (login, password string, err error) {
	login, password = s.Schema(), rand.Text()
	now, err := t.db.Now(ctx)
	if err != nil {
		return "", "", err
	}
	err = t.db.Admin(ctx, func(tx pgx.Tx) error {
		if err := makeReader(ctx, tx, login, password, login, now.Add(stateLife)); err != nil {
			return err
		}
		//sqlcheck:allow a name made of the workspace's id
		if _, err := tx.Exec(ctx, `grant `+login+` to session_user`); err != nil { // so that dropState may end its sessions
			return err
		}
		if err := pg.BecomeOwner(ctx, tx, login); err != nil {
			return err
		}
		//sqlcheck:allow names made of the workspace's id, and the text of the program
		_, err := tx.Exec(ctx, fmt.Sprintf(`create table event (like %[1]s.event); create table head (like %[1]s.head); %[2]s; drop table event, head cascade;
			grant usage on schema %[3]s to %[3]s; grant select on all tables in schema %[3]s to %[3]s`, s.Workspace.Schema(), t.Views, login))
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("make a login that reads a state: %w", err)
	}
	return login, password, nil
}

// DropStates drops the states whose names nobody has locked.
func (t *Tenancy) DropStates(ctx context.Context) error {
	all, err := t.states(ctx)
	for _, name := range all {
		err = errors.Join(err, t.db.Admin(ctx, func(tx pgx.Tx) error {
			free, err := tryLockState(ctx, tx, name)
			if err != nil || !free {
				return err
			}
			return dropState(ctx, tx, name)
		}))
	}
	return err
}

// dropStatesOf drops the states of a workspace, even when their names are locked.
func (t *Tenancy) dropStatesOf(ctx context.Context, w pg.Workspace) error {
	all, err := t.states(ctx)
	for _, name := range all {
		if strings.HasPrefix(name, w.Schema()+"_") {
			err = errors.Join(err, t.db.Admin(ctx, func(tx pgx.Tx) error { return dropState(ctx, tx, name) }))
		}
	}
	return err
}

// states returns the names of the states of all workspaces: those of schemas, and those of logins whose schemas are gone.
func (t *Tenancy) states(ctx context.Context) (names []string, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `select name from (select nspname::text as name from pg_namespace union select rolname::text from pg_roles) as named
			join kluis.workspace w on left(name, 42) = 'ws_' || replace(w.id::text, '-', '') || '_state_' order by name`)
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for states: %w", err)
	}
	return names, nil
}

// tryLockState locks the name of a state until tx ends, unless another transaction has locked it.
func tryLockState(ctx context.Context, tx pgx.Tx, name string) (free bool, err error) {
	err = tx.QueryRow(ctx, `select pg_try_advisory_xact_lock(hashtextextended($1, 0))`, name).Scan(&free)
	return free, err
}

// dropState ends the sessions of a state's login, and drops the schema and the login, in a transaction of Admin.
func dropState(ctx context.Context, tx pgx.Tx, name string) error {
	var login bool
	err := tx.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1)`, name).Scan(&login)
	if err == nil && login {
		//sqlcheck:allow a name made of a workspace's id
		_, err = tx.Exec(ctx, `alter role `+name+` nologin; set local role `+name+`; select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = current_user; set local role none`)
	}
	if err == nil {
		err = pg.BecomeOwner(ctx, tx, "")
	}
	if err == nil {
		//sqlcheck:allow a name made of a workspace's id
		_, err = tx.Exec(ctx, `set local lock_timeout = '10s'; drop schema if exists `+name+` cascade; set local role none`)
	}
	if err == nil && login {
		err = dropReader(ctx, tx, name)
	}
	if err != nil {
		return fmt.Errorf("drop the state %s: %w", name, err)
	}
	return nil
}
