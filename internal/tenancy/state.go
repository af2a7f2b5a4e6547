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

// A state is a schema with the read models of a workspace as they were at a moment, for as long as somebody looks at them. A login of the schema's
// own name reads it and nothing else, and nobody else but the owner reads it. Whoever has a state holds the lock on its name: one that
// nobody holds is what a command left that was killed.

// stateLife is when the password of a state's login ends, at the latest.
const stateLife = 24 * time.Hour

// InState has a state used, and drops it:
//
//  1. States that nobody holds are dropped.
//  2. A transaction takes the lock on a name that nobody else has, and stays open to the end.
//  3. use makes the schema of that name, and whatever becomes of it.
//  4. The schema and its login are dropped, in that transaction.
//
// Killed anywhere, what there is is dropped by the next one, or by a server (jobs/retention.go).
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
		used = pg.Keeping(ctx, tx, func(ctx context.Context) error { return use(ctx, s) })
		soon, cancel := context.WithTimeout(lasting, time.Minute)
		defer cancel()
		return dropState(soon, tx, s.Schema())
	})
	return errors.Join(used, err)
}

// OpenState lets a login of the name of a state, which is filled, read it: the read models, and the views of analysts on them, but for the one
// of the log, of which a state has nothing.
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
		if _, err := tx.Exec(ctx, `grant `+login+` to session_user`); err != nil { // to end its sessions
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

// DropStates drops the states that nobody holds.
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

// dropStatesOf drops the states of a workspace, whoever holds them.
func (t *Tenancy) dropStatesOf(ctx context.Context, w pg.Workspace) error {
	all, err := t.states(ctx)
	for _, name := range all {
		if strings.HasPrefix(name, w.Schema()+"_") {
			err = errors.Join(err, t.db.Admin(ctx, func(tx pgx.Tx) error { return dropState(ctx, tx, name) }))
		}
	}
	return err
}

// states are the names of the states of all workspaces that this database has, or had: those of schemas, and of logins.
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

// tryLockState takes the lock on a state, to the end of a transaction, unless somebody has it.
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
