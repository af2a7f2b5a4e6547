package tenancy

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// control says what the control schema has: of its own migrations, and the newest version of workspaces that a program brought.
type control struct {
	version    int
	hashes     []string
	workspaces int
}

// readControl reads what the control schema has: nothing, in a database that was never migrated. Migrations that this
// program knows otherwise are ErrForeign.
func (t *Tenancy) readControl(ctx context.Context) (c control, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		c, err = t.readControlIn(ctx, tx)
		return err
	})
	if pg.Is(err, pg.UndefinedTable, pg.NoSuchSchema, pg.AccessDenied) { // or migrated halfway
		return control{}, nil
	}
	return c, err
}

func (t *Tenancy) readControlIn(ctx context.Context, tx pgx.Tx) (c control, err error) {
	err = tx.QueryRow(ctx, `select version, hashes, workspaces from kluis.migration`).Scan(&c.version, &c.hashes, &c.workspaces)
	if err == nil && !appliedFrom(t.controlLine, c.version, c.hashes) {
		err = ErrForeign
	}
	return c, foreign(err)
}

// Serves tells whether this program can serve from the database: its control schema has all that the program needs, and may have
// more, from a newer one. How single workspaces are does not matter.
func (t *Tenancy) Serves(ctx context.Context) error {
	c, err := t.readControl(ctx)
	if err == nil && c.version < len(t.controlLine) {
		err = &LackingError{Has: c.version, Needs: len(t.controlLine)}
	}
	return err
}

// programView is a workspace as a program sees it.
type programView struct {
	ID      uuid.UUID
	Slug    string
	Version int
	Ours    bool // its migrations are this program's, as far as both go
	Status  string
	Failure string // why the next migration failed
}

// why says what keeps a workspace from its migrations; nil when it was not tried yet.
func (s programView) why() error {
	switch {
	case !s.Ours:
		return ErrForeign
	case s.Failure != "":
		return errors.New(s.Failure)
	}
	return nil
}

// Parameters 1 and 2 are the length of the program's line and its hashes.
const (
	agrees           = `coalesce(hashes[least(version, $1)] = ($2::text[])[least(version, $1)], false)`
	selectWorkspaces = `select id, slug, version, ` + agrees + ` as ours, coalesce(failure, '') as failure, status from kluis.workspace where status not in ('erased', 'arriving', 'moved') and `
)

// lacking gives the workspaces that this program cannot serve as they are; one query, whatever their number.
func (t *Tenancy) lacking(ctx context.Context) ([]programView, error) {
	return t.workspaceViews(ctx, selectWorkspaces+`status <> 'erasing' and (version < $1 or not `+agrees+`) order by id`)
}

func (t *Tenancy) workspaceViews(ctx context.Context, sql string, args ...any) (all []programView, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, append([]any{len(t.workspaceLine), hashes(t.workspaceLine)}, args...)...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowToStructByName[programView])
		return err
	})
	return all, foreign(err)
}

// Status says which migrations the database has, and how far read models are. Foreign workspaces have others than this program's.
type Status struct {
	Control, ControlAll                              int
	Workspaces, Behind, Foreign, Newer, WorkspaceAll int
	OlderShape, NewerShape                           int      // workspaces whose read models are of another shape than this program's folds
	Failed                                           []string // of each workspace that cannot be served: why
}

// Status counts; it costs one query when nothing lacks. A control schema with other migrations than this program's is ErrForeign.
func (t *Tenancy) Status(ctx context.Context) (Status, error) {
	s := Status{ControlAll: len(t.controlLine), WorkspaceAll: len(t.workspaceLine)}
	c, err := t.readControl(ctx)
	if s.Control = c.version; err != nil || s.Control == 0 {
		return s, err
	}
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select count(*), count(*) filter (where `+agrees+` and version < $1), count(*) filter (where not `+agrees+`),
				count(*) filter (where `+agrees+` and version > $1), count(*) filter (where shape < $3 and status = 'active'), count(*) filter (where shape > $3)
			from kluis.workspace where status not in ('erased', 'erasing', 'arriving', 'moved')`, s.WorkspaceAll, hashes(t.workspaceLine), t.Shape).
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

// OursAtAll is ErrForeign when the database has workspaces and every one was made by another line of migrations. A single one is
// not available, and shown by Status.
func (t *Tenancy) OursAtAll(ctx context.Context) error {
	s, err := t.Status(ctx)
	if err == nil && s.Foreign > 0 && s.Foreign == s.Workspaces {
		err = ErrForeign
	}
	return err
}
