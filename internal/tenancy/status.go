package tenancy

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// control is what the control schema says of migrations: its own, and the newest of workspaces that a program has brought.
type control struct {
	version    int
	hashes     []string
	workspaces int
}

// readControl reads what the control schema has: nothing in a database that was never migrated. The error is ErrForeign when its migrations are not
// this program's.
func (t *Tenancy) readControl(ctx context.Context) (c control, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		c, err = t.readControlIn(ctx, tx)
		return err
	})
	if pg.Is(err, pg.UndefinedTable, pg.NoSuchSchema, pg.AccessDenied) { // never migrated, or in part
		return control{}, nil
	}
	return c, err
}

func (t *Tenancy) readControlIn(ctx context.Context, tx pgx.Tx) (c control, err error) {
	err = tx.QueryRow(ctx, `select version, hashes, workspaces from kluis.migration`).Scan(&c.version, &c.hashes, &c.workspaces)
	if err == nil && !appliedFrom(t.controlMigrations, c.version, c.hashes) {
		err = ErrForeign
	}
	return c, foreign(err)
}

// Serves tells whether this program can serve from the database. Its control schema must have every migration that the program needs; it may have
// more, from a newer one. The state of single workspaces does not matter.
func (t *Tenancy) Serves(ctx context.Context) error {
	c, err := t.readControl(ctx)
	if err == nil && c.version < len(t.controlMigrations) {
		err = &LackingError{Has: c.version, Needs: len(t.controlMigrations)}
	}
	return err
}

// migrated says how the migrations of a workspace compare with this program's.
type migrated struct {
	ID      uuid.UUID
	Slug    string
	Version int
	Ours    bool // they are this program's, as far as both go
	Status  string
	Failure string // why the next one failed
}

// why returns what keeps a workspace from its migrations; nil when nobody has tried yet.
func (s migrated) why() error {
	switch {
	case !s.Ours:
		return ErrForeign
	case s.Failure != "":
		return errors.New(s.Failure)
	}
	return nil
}

// Parameters 1 and 2 are the number of this program's migrations, and their hashes.
const (
	agrees           = `coalesce(hashes[least(version, $1)] = ($2::text[])[least(version, $1)], false)`
	selectWorkspaces = `select id, slug, version, ` + agrees + ` as ours, coalesce(failure, '') as failure, status from kluis.workspace where status not in ('erased', 'arriving', 'moved') and `
)

// lacking returns the workspaces that this program cannot serve as they are, by one query, whatever their number.
func (t *Tenancy) lacking(ctx context.Context) ([]migrated, error) {
	return t.migratedOf(ctx, selectWorkspaces+`status <> 'erasing' and (version < $1 or not `+agrees+`) order by id`)
}

func (t *Tenancy) migratedOf(ctx context.Context, sql string, args ...any) (all []migrated, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, append([]any{len(t.workspaceMigrations), hashes(t.workspaceMigrations)}, args...)...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowToStructByName[migrated])
		return err
	})
	return all, foreign(err)
}

// Status counts migrations and read models. Foreign workspaces have other migrations than this program's.
type Status struct {
	Control, ControlAll                              int
	Workspaces, Behind, Foreign, Newer, WorkspaceAll int
	OlderShape, NewerShape                           int      // workspaces whose read models are of another shape than this program's folds
	Failed                                           []string // why each workspace cannot be served that cannot
}

// Status costs one query when no workspace lacks anything. The error is ErrForeign when the control schema has other migrations than this program's.
func (t *Tenancy) Status(ctx context.Context) (Status, error) {
	s := Status{ControlAll: len(t.controlMigrations), WorkspaceAll: len(t.workspaceMigrations)}
	c, err := t.readControl(ctx)
	if s.Control = c.version; err != nil || s.Control == 0 {
		return s, err
	}
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select count(*), count(*) filter (where `+agrees+` and version < $1), count(*) filter (where not `+agrees+`),
				count(*) filter (where `+agrees+` and version > $1), count(*) filter (where shape < $3 and status = 'active'), count(*) filter (where shape > $3)
			from kluis.workspace where status not in ('erased', 'erasing', 'arriving', 'moved')`, s.WorkspaceAll, hashes(t.workspaceMigrations), t.Shape).
			Scan(&s.Workspaces, &s.Behind, &s.Foreign, &s.Newer, &s.OlderShape, &s.NewerShape)
	})
	if err != nil || s.Behind+s.Foreign == 0 {
		return s, foreign(err)
	}
	lacking, err := t.lacking(ctx)
	for _, w := range lacking {
		if why := w.why(); why != nil {
			s.Failed = append(s.Failed, t.lack(w, why, 0).Error())
		}
	}
	return s, err
}

// OursAtAll returns ErrForeign when there are workspaces, and all of them have other migrations than this program's. When only some have, those are
// not available, and Status shows them.
func (t *Tenancy) OursAtAll(ctx context.Context) error {
	s, err := t.Status(ctx)
	if err == nil && s.Foreign > 0 && s.Foreign == s.Workspaces {
		err = ErrForeign
	}
	return err
}
