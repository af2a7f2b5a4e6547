package tenancy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// While a workspace moves from one cell to another, the two directories have these statuses:
//
//	source   active ............................ moved, then no row
//	target              arriving ....................... active
//
// No login may take the role of a workspace that is arriving or moved, so the two cells never serve it both. Between moved and active, for
// milliseconds, neither does. The next move takes away what a killed one has left. When the workspace is erased before that, it is a
// stray: see Strays.
const (
	arriving = "arriving"
	moved    = "moved"
)

// MovedError says that a workspace is in another region, or on its way there.
type MovedError struct{ Region string }

func (e *MovedError) Error() string { return "the workspace moved to region " + e.Region }

// Lost tells pg.Lost that no connection is lost.
func (e *MovedError) Lost() bool { return false }

// Moved tells whether the workspace has left this cell: nobody serves it here, and what is left of it is to be taken away.
func (e Entry) Moved() bool { return e.Status == moved }

// There tells whether the workspace is here, in use or not.
func (e Entry) There() bool { return e.Status != moved && e.Status != arriving && e.Status != "erased" }

// MovedFrom returns a MovedError with the region of a workspace that is not served from here; nil when it did not move.
func (t *Tenancy) MovedFrom(ctx context.Context, w pg.Workspace) error {
	home, err := t.home()
	if err != nil {
		return err
	}
	region, err := home.RegionOf(ctx, w.ID, "")
	if errors.Is(err, ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	if t.region != "" && region != t.region {
		return &MovedError{region}
	}
	e, err := t.Entry(ctx, w.ID) // the home's list may not say so yet
	if errors.Is(err, ErrUnknown) || err == nil && !e.Moved() {
		return nil
	}
	if err == nil {
		err = &MovedError{e.Region}
	}
	return err
}

// Named finds a workspace by its slug, whatever its status. The error is ErrUnknown when this cell has none.
func (t *Tenancy) Named(ctx context.Context, slug string) (Entry, error) {
	return t.one(ctx, `select `+columns+` from kluis.workspace where slug = $1`, slug)
}

// Entry finds a workspace by its id, whatever its status. The error is ErrUnknown when this cell has none.
func (t *Tenancy) Entry(ctx context.Context, id uuid.UUID) (Entry, error) {
	return t.one(ctx, `select `+columns+` from kluis.workspace where id = $1`, id)
}

func (t *Tenancy) one(ctx context.Context, sql string, by any) (Entry, error) {
	entries, err := t.query(ctx, sql, by) //sqlcheck:allow one of the two above
	if err == nil && len(entries) == 0 {
		err = ErrUnknown
	}
	if err != nil {
		return Entry{}, err
	}
	return entries[0], nil
}

// MayMove refuses to move a workspace whose migrations are not exactly those of this program: both databases must have the same tables.
// When an earlier move was broken off behind its last step here, the error is a MovedError.
func (t *Tenancy) MayMove(ctx context.Context, e Entry) error {
	switch {
	case e.Status == moved:
		return &MovedError{e.Region}
	case e.Status != active:
		return fmt.Errorf("workspace %q is %s: only one that is active moves", e.Slug, e.Status)
	}
	s, err := t.touch(ctx, e.Workspace(), errors.New("look at it anew"))
	if err == nil && (s != nil || e.Version != len(t.workspaceMigrations)) {
		err = fmt.Errorf("workspace %q has other migrations than this program: run `kluis migrate`, with the newest kluis", e.Slug)
	}
	return err
}

// Arrive makes an empty workspace that no login may enter, in place of what an earlier move has left.
func (t *Tenancy) Arrive(ctx context.Context, e Entry) error {
	e.Status, e.Version = arriving, len(t.workspaceMigrations)
	err := t.Withdraw(ctx, e)
	if err == nil {
		err = t.db.Admin(ctx, func(tx pgx.Tx) error { return t.build(ctx, tx, e) })
	}
	if err != nil {
		return fmt.Errorf("make room for workspace %s: %w", e.ID, err)
	}
	return nil
}

// errRotating and errMoving refuse a move and a rotation of keys at the same time.
var (
	errRotating = errors.New("keys are being rotated: move the workspace when that is done")
	errMoving   = errors.New("a workspace is being moved to another region: rotate the keys when that is done")
)

// LockMove keeps rotations of keys off while a workspace moves, until tx ends, a transaction of the home. Without it a rotation could miss the
// workspace: it might work through the target before the workspace arrives there, and through the source after it has left. Other moves
// may go on.
func LockMove(ctx context.Context, tx pgx.Tx) error {
	if err := lockOr(ctx, tx, `select pg_try_advisory_xact_lock_shared(hashtext('kluis'), hashtext('moves'))`, errRotating); err != nil {
		return err
	}
	return lockPlaces(ctx, tx, `select pg_advisory_xact_lock_shared(hashtext('kluis'), hashtext('places'))`)
}

// LockMoves keeps all moves off while keys are rotated, until tx ends, a transaction of the home.
func LockMoves(ctx context.Context, tx pgx.Tx) error {
	return lockOr(ctx, tx, `select pg_try_advisory_xact_lock(hashtext('kluis'), hashtext('moves'))`, errMoving)
}

func lockOr(ctx context.Context, tx pgx.Tx, sql string, taken error) error {
	var got bool
	err := tx.QueryRow(ctx, sql).Scan(&got) //sqlcheck:allow one of the two above
	if err == nil && !got {
		err = taken
	}
	if err == nil {
		_, err = tx.Exec(ctx, `set local idle_in_transaction_session_timeout = '1min'`)
	}
	return err
}

// Withdraw takes away what has arrived of a workspace that was never opened here.
func (t *Tenancy) Withdraw(ctx context.Context, e Entry) error { return t.takeAway(ctx, e, arriving) }

// fenceWaits has a fence wait only a moment for writers that are under way, because the writers behind it wait as well.
const fenceWaits = `set local lock_timeout = '500ms'; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = '1min'`

// Fence ends a workspace in this cell, in one transaction:
//
//  1. The tables are locked against changes. Writers that are under way end first; those that come wait. Readers go on.
//  2. within copies what is not copied yet, and checks whether all is well.
//  3. The workspace's role loses the tables, and the login loses the role. So a writer that has waited, or whose transaction had begun
//     before, changes nothing any more.
//
// When it fails, or is broken off anywhere before its end, nothing has happened: the writers that have waited go on here.
func (t *Tenancy) Fence(ctx context.Context, e Entry, to string, within func(tx pgx.Tx) error) error {
	name := e.Workspace().Schema()
	return t.db.Admin(ctx, func(tx pgx.Tx) error {
		if err := pg.BecomeOwner(ctx, tx, name); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fenceWaits); err != nil {
			return err
		}
		if err := lockTables(ctx, tx, name); err != nil {
			return err
		}
		var status string
		var version int
		if err := tx.QueryRow(ctx, `select status, version from kluis.workspace where id = $1 for update`, e.ID).Scan(&status, &version); err != nil {
			return err
		}
		if status != e.Status || version != e.Version {
			return fmt.Errorf("workspace %q became %s, with %d migrations, meanwhile", e.Slug, status, version)
		}
		if err := within(tx); err != nil {
			return err
		}
		//sqlcheck:allow a name made of the workspace's id, and a quoted one
		if _, err := tx.Exec(ctx, `revoke all on all tables in schema `+name+` from `+name+`; set local role none; revoke `+name+` from `+t.login()); err != nil {
			return err
		}
		if err := pg.BecomeOwner(ctx, tx, "kluis"); err != nil {
			return err
		}
		if err := allMayRead(ctx, tx, name, false); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `update workspace set status = $2, region = $3 where id = $1`, e.ID, moved, to)
		return err
	})
}

// lockTables locks all tables of a schema against changes, except those of the Merkle tree, which is derived and may grow meanwhile.
func lockTables(ctx context.Context, tx pgx.Tx, name string) error {
	rows, _ := tx.Query(ctx, `select quote_ident(relname) from pg_class where relnamespace = to_regnamespace($1) and relkind = 'r' and relname not in ('tree', 'tile') order by relname = 'head' desc, relname`, name)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	//sqlcheck:allow names that Postgres quoted
	_, err = tx.Exec(ctx, `lock table `+name+"."+strings.Join(tables, ", "+name+".")+` in share row exclusive mode`)
	return err
}

// OpenArrived opens a workspace that has arrived, with what within adds to it. It leaves a workspace alone that is open already.
func (t *Tenancy) OpenArrived(ctx context.Context, e Entry, within func(tx pgx.Tx) error) error {
	name := e.Workspace().Schema()
	return t.db.Admin(ctx, func(tx pgx.Tx) error {
		//sqlcheck:allow a name made of the workspace's id, and a quoted one
		if _, err := tx.Exec(ctx, `grant `+name+` to `+t.login()); err != nil {
			return err
		}
		if err := pg.BecomeOwner(ctx, tx, name); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update kluis.workspace set status = 'active', shape = (select oldest from checkpoint) where id = $1 and status = 'arriving'`, e.ID)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return within(tx)
	})
}

// Relocate has the home's list say that a workspace is in a region.
func (t *Tenancy) Relocate(ctx context.Context, id uuid.UUID, region string) error {
	home, err := t.home()
	if err != nil {
		return err
	}
	return home.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis.place set region = $2 where id = $1`, id, region)
		return err
	})
}

// Depart takes away what is left of a workspace that has moved: the logins of its analysts, its schema, its role, and its rows in the control
// schema. The home's list keeps its slug and id from being used again.
func (t *Tenancy) Depart(ctx context.Context, e Entry) error {
	if _, err := t.DropAnalysts(ctx, e.Workspace()); err != nil {
		return err
	}
	return t.takeAway(ctx, e, moved)
}

// takeAway drops everything of a workspace that has a status, and goes on where an earlier call was broken off.
func (t *Tenancy) takeAway(ctx context.Context, e Entry, status string) error {
	is, err := t.Entry(ctx, e.ID)
	if err == nil && is.Status == status {
		if _, err = t.DropSchemas(ctx, e.Workspace()); err == nil {
			err = t.db.Own(ctx, "kluis", func(tx pgx.Tx) error {
				if _, err := dropOfControl(ctx, tx, e.Workspace()); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, `delete from workspace where id = $1 and status = $2`, e.ID, status)
				return err
			})
		}
	}
	if err != nil && !errors.Is(err, ErrUnknown) {
		return fmt.Errorf("take away what is left of workspace %s: %w", e.ID, err)
	}
	return t.DropRole(ctx, e.Workspace())
}

// ControlTables returns the tables of the control schema that have rows of workspaces, such as the queue of imports, as quoted names. Signals are
// left out, because they last a moment. The transaction is the owner's.
func ControlTables(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, _ := tx.Query(ctx, `select quote_ident(c.relname) from pg_class c join pg_attribute a on a.attrelid = c.oid
		where c.relnamespace = 'kluis'::regnamespace and c.relkind = 'r' and a.attname = 'workspace_id' and not a.attisdropped and c.relname <> 'signal' order by c.relname`)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
