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

// What becomes of a workspace in the directories of two cells while it moves from one to the other:
//
//	source   active ............................ moved, then no row
//	target              arriving ....................... active
//
// No login may take the role of a workspace that is arriving or moved, so never do both serve. Between moved and active, milliseconds, nobody does.
// What a move that was killed left is taken away by the next one, or, when the workspace is erased before that, as a stray: see Strays.
const (
	arriving = "arriving"
	moved    = "moved"
)

// MovedError says that a workspace is in another region, or on its way there.
type MovedError struct{ Region string }

func (e *MovedError) Error() string { return "the workspace moved to region " + e.Region }

// Lost says for pg.Lost that no connection is.
func (e *MovedError) Lost() bool { return false }

// Moved tells of an entry that the workspace left: nobody serves it here, and what is left is to be taken away.
func (e Entry) Moved() bool { return e.Status == moved }

// There tells of an entry that the workspace is here, in use or not.
func (e Entry) There() bool { return e.Status != moved && e.Status != arriving && e.Status != "erased" }

// MovedFrom tells where a workspace is that is not served from here: a MovedError; nil when it did not move.
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
	e, err := t.Entry(ctx, w.ID) // the home may not have been told yet
	if errors.Is(err, ErrUnknown) || err == nil && !e.Moved() {
		return nil
	}
	if err == nil {
		err = &MovedError{e.Region}
	}
	return err
}

// Named finds a workspace by its slug, whatever its status; ErrUnknown when it is not here.
func (t *Tenancy) Named(ctx context.Context, slug string) (Entry, error) {
	return t.one(ctx, `select `+columns+` from kluis.workspace where slug = $1`, slug)
}

// Entry finds a workspace by its id, whatever its status; ErrUnknown when it is not here.
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

// MayMove refuses to move a workspace that is not as this program makes one: both databases have to have the same tables. It gives where the workspace
// moved when an earlier move was broken off behind its last step here.
func (t *Tenancy) MayMove(ctx context.Context, e Entry) error {
	switch {
	case e.Status == moved:
		return &MovedError{e.Region}
	case e.Status != active:
		return fmt.Errorf("workspace %q is %s: only one that is active moves", e.Slug, e.Status)
	}
	s, err := t.touch(ctx, e.Workspace(), errors.New("looked at anew"))
	if err == nil && (s != nil || e.Version != len(t.workspaceLine)) {
		err = fmt.Errorf("workspace %q has other migrations than this program: run `kluis migrate`, with the newest kluis", e.Slug)
	}
	return err
}

// Arrive makes an empty workspace that no login may enter, in place of what an earlier move left.
func (t *Tenancy) Arrive(ctx context.Context, e Entry) error {
	e.Status, e.Version = arriving, len(t.workspaceLine)
	err := t.Withdraw(ctx, e)
	if err == nil {
		err = t.db.Admin(ctx, func(tx pgx.Tx) error { return t.build(ctx, tx, e) })
	}
	if err != nil {
		return fmt.Errorf("make room for workspace %s: %w", e.ID, err)
	}
	return nil
}

// errRotating and errMoving refuse what cannot be done at the same time.
var (
	errRotating = errors.New("keys are being rotated: move the workspace when that is done")
	errMoving   = errors.New("a workspace is being moved to another region: rotate the keys when that is done")
)

// LockMove keeps rotations of keys off a move, until the end of a transaction of the home: a rotation that was in the one cell before the workspace
// arrived there, and in the other one when it had left, would have missed it. Other moves are no matter.
func LockMove(ctx context.Context, tx pgx.Tx) error {
	if err := lockOr(ctx, tx, `select pg_try_advisory_xact_lock_shared(hashtext('kluis'), hashtext('moves'))`, errRotating); err != nil {
		return err
	}
	return lockPlaces(ctx, tx, `select pg_advisory_xact_lock_shared(hashtext('kluis'), hashtext('places'))`)
}

// LockMoves keeps all moves off a rotation of keys, until the end of a transaction of the home.
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

// fenceWaits has a fence wait only for a moment for writers that are under way, before it gives way: those behind it wait, too.
const fenceWaits = `set local lock_timeout = '500ms'; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = '1min'`

// Fence ends the workspace here, in one transaction:
//
//  1. The tables are locked against changes. Writers that are under way end first; those that come wait. Readers go on.
//  2. within copies what is not copied yet, and says whether all is well.
//  3. The role loses the tables, and the login the role: whoever waited, or has begun a transaction before, changes nothing any more.
//
// Broken off or failed anywhere before its end, nothing happened, and those who waited go on here.
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

// lockTables locks all tables of a schema against changes, but for those of the Merkle tree, which is derived and grows meanwhile.
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

// Begin opens a workspace that has arrived, with what within adds to it; one that is open already is left alone.
func (t *Tenancy) Begin(ctx context.Context, e Entry, within func(tx pgx.Tx) error) error {
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

// Relocate has the home's list say where a workspace is.
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

// Depart takes away what is left of a workspace that moved: its analysts' logins, schema, role, and rows of the control schema. Its slug and
// id are in the home's list, so that neither is used again.
func (t *Tenancy) Depart(ctx context.Context, e Entry) error {
	if _, err := t.DropAnalysts(ctx, e.Workspace()); err != nil {
		return err
	}
	return t.takeAway(ctx, e, moved)
}

// takeAway drops all of a workspace that has a status, and goes on where an earlier call was broken off.
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

// ControlTables are those of the control schema that have rows of workspaces, as the queue of imports, quoted; but for the signals, which are of
// the moment. The transaction is the owner's.
func ControlTables(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, _ := tx.Query(ctx, `select quote_ident(c.relname) from pg_class c join pg_attribute a on a.attrelid = c.oid
		where c.relnamespace = 'kluis'::regnamespace and c.relkind = 'r' and a.attname = 'workspace_id' and not a.attisdropped and c.relname <> 'signal' order by c.relname`)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
