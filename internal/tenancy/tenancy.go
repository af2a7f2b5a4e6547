package tenancy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Tenancy is the directory of the workspaces in one database.
type Tenancy struct {
	Log   *slog.Logger // for migrations beside serving
	Shape int          // of this program's folds, for new workspaces
	Views string       // the SQL that makes the views of analysts

	// Home returns the cell with the list of all slugs; nil when that is this cell.
	Home func() (*Tenancy, error)

	region              string // of the database: see Belong
	db                  *pg.DB
	controlMigrations   []migration
	workspaceMigrations []migration
	fleet               fleet
	life                context.Context // of migrations that may outlive their callers
	end                 context.CancelFunc
}

// New reads the migrations from the folders control and workspace.
func New(db *pg.DB, control, workspace fs.FS) (*Tenancy, error) {
	controlMigrations, err := readMigrations(control, "control")
	if err != nil {
		return nil, err
	}
	workspaceMigrations, err := readMigrations(workspace, "workspace")
	if err != nil {
		return nil, err
	}
	t := &Tenancy{db: db, Log: slog.New(slog.DiscardHandler), controlMigrations: controlMigrations, workspaceMigrations: workspaceMigrations,
		fleet: fleet{slots: make(chan struct{}, atOnce), efforts: map[uuid.UUID]*effort{}}}
	t.life, t.end = context.WithCancel(context.Background())
	return t, nil
}

// Entry is the row of a workspace in the directory.
type Entry struct {
	ID        uuid.UUID
	Slug      string
	Region    string
	Status    string // active, closed, erasing, erased; arriving and moved: see move.go
	Version   int    // the number of its last migration
	CreatedAt time.Time
}

// Workspace returns the value that opens the data of the workspace.
func (e Entry) Workspace() pg.Workspace { return pg.Workspace{ID: e.ID} }

const columns = `id, slug, region, status, version, created_at`

// active is the status of a workspace that is served. No login may take the role of a workspace with another status.
const active = "active"

// Newest is the number of the last migration of workspaces that this program has.
func (t *Tenancy) Newest() int { return len(t.workspaceMigrations) }

// List returns the active workspaces, the oldest first, at most limit; 0 means all.
func (t *Tenancy) List(ctx context.Context, limit int) ([]Entry, error) {
	return t.query(ctx, `select `+columns+` from kluis.workspace where status = 'active' order by id limit nullif($1, 0)`, limit)
}

// All returns every workspace that is whole, closed or not, the oldest first.
func (t *Tenancy) All(ctx context.Context) ([]Entry, error) {
	return t.query(ctx, `select `+columns+` from kluis.workspace where status not in ('erased', 'erasing', 'arriving', 'moved') order by id`)
}

// Keyed returns every workspace that may have keys, and among them what a broken-off move has left.
func (t *Tenancy) Keyed(ctx context.Context) ([]Entry, error) {
	return t.query(ctx, `select `+columns+` from kluis.workspace where status not in ('erased', 'erasing') order by id`)
}

// Erasing returns the workspaces whose erasure has begun: some of their data may be gone.
func (t *Tenancy) Erasing(ctx context.Context) ([]Entry, error) {
	return t.query(ctx, `select `+columns+` from kluis.workspace where status = 'erasing' order by id`)
}

// BySlug finds a workspace that was not erased. The error is ErrUnknown when there is none. A closed workspace is found; opening it fails as
// pg.Closed.
func (t *Tenancy) BySlug(ctx context.Context, slug string) (Entry, error) {
	entries, err := t.query(ctx, `select `+columns+` from kluis.workspace where status not in ('erased', 'arriving', 'moved') and slug = $1`, slug)
	if err == nil && len(entries) == 0 {
		err = ErrUnknown
	}
	if err != nil {
		return Entry{}, fmt.Errorf("workspace %q: %w", slug, err)
	}
	return entries[0], nil
}

// SlugTaken tells whether a slug is, or was, that of a workspace in any cell.
func (t *Tenancy) SlugTaken(ctx context.Context, slug string) (bool, error) {
	home, err := t.home()
	if err != nil {
		return false, err
	}
	_, err = home.RegionOf(ctx, uuid.Nil, slug)
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}

// Behind returns how many workspaces lack migrations of this program, or have foreign ones.
func (t *Tenancy) Behind(ctx context.Context) (int, error) {
	lacking, err := t.lacking(ctx)
	return len(lacking), err
}

func (t *Tenancy) query(ctx context.Context, sql string, args ...any) (entries []Entry, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		entries, err = pgx.CollectRows(rows, pgx.RowToStructByName[Entry])
		return err
	})
	if pg.Is(err, pg.UndefinedTable, pg.NoSuchSchema) {
		return nil, errors.New("the database was never migrated: kluis migrate does it, and so does kluis serve")
	}
	if err != nil {
		return nil, fmt.Errorf("read the workspace directory: %w", foreign(err))
	}
	return entries, nil
}

// Errors of looking up and making workspaces.
var (
	ErrUnknown   = errors.New("no such workspace")
	ErrSlugTaken = errors.New("the slug is taken") // by a workspace that is, or was
)

// Provision makes a workspace: its role, schema, tables and row in the directory, and whatever found adds. It is one transaction: killed
// anywhere, the workspace is whole or absent. found runs as the owner in the workspace's schema. after runs as the owner with no schema
// on the search_path, and may touch the control schema. In a cell that is not the home, the home's list claims the slug first.
func (t *Tenancy) Provision(ctx context.Context, id uuid.UUID, slug, region string, found, after func(tx pgx.Tx) error) error {
	e := Entry{ID: id, Slug: slug, Region: region, Status: active, Version: len(t.workspaceMigrations)}
	home, err := t.home()
	if err == nil && home != t {
		err = home.db.Control(ctx, func(tx pgx.Tx) error { return claim(ctx, tx, e, false) })
	}
	if err != nil {
		return fmt.Errorf("take the slug of workspace %s: %w", id, err)
	}
	err = t.db.Admin(ctx, func(tx pgx.Tx) error {
		if err := t.build(ctx, tx, e); err != nil {
			return err
		}
		if err := found(tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `set local search_path = pg_catalog, pg_temp`); err != nil {
			return err
		}
		return after(tx)
	})
	if err != nil {
		return fmt.Errorf("provision workspace %s: %w", id, err)
	}
	if home != t { // when this fails, Settle does it
		_ = home.db.Control(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update kluis.place set settled = true where id = $1`, id)
			return err
		})
	}
	return nil
}

// notOlder refuses to make a workspace that would lack what a newer program has brought. Its lock keeps newer migrations waiting until tx
// ends, so that none comes at the same moment.
func (t *Tenancy) notOlder(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock_shared(hashtext('kluis'), hashtext('tenancy'))`); err != nil {
		return err
	}
	there, err := t.readControlIn(ctx, tx)
	if err == nil && there.workspaces > len(t.workspaceMigrations) {
		err = ErrNewer
	}
	return err
}

// MayProvision refuses what Provision would refuse first, for callers to whom a failed try costs something.
func (t *Tenancy) MayProvision(ctx context.Context) error {
	return t.db.Control(ctx, func(tx pgx.Tx) error { return t.notOlder(ctx, tx) })
}

// build makes everything of a workspace that does not depend on its founders. The row in the directory tells whether the slug is taken. It comes
// late, because only the owner may write it. When two calls make the same workspace at once, the second one waits, and finds the slug taken.
func (t *Tenancy) build(ctx context.Context, tx pgx.Tx, e Entry) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, "provision "+e.ID.String()); err != nil {
		return err
	}
	name, err := t.makeRole(ctx, tx, e)
	if err != nil {
		return err
	}
	if err := pg.CreateSchema(ctx, tx, name); err != nil {
		return err
	}
	if err := pg.BecomeOwner(ctx, tx, name); err != nil {
		return err
	}
	if err := t.notOlder(ctx, tx); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into kluis.workspace (id, slug, region, status, version, hashes, shape) values ($1, $2, $3, $4, $5, $6, $7)`,
		e.ID, e.Slug, e.Region, e.Status, e.Version, hashes(t.workspaceMigrations), t.Shape)
	if pg.Is(err, pg.UniqueViolation) {
		return ErrSlugTaken
	}
	if err == nil && t.Home == nil && e.Status == active {
		err = claim(ctx, tx, e, true)
	}
	if err != nil {
		return err
	}
	//sqlcheck:allow a name made of the workspace's id
	if _, err := tx.Exec(ctx, `grant usage on schema `+name+` to `+name); err != nil {
		return err
	}
	return t.applyTo(ctx, tx, e.Workspace(), 0)
}
