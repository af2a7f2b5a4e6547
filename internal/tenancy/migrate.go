package tenancy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/internal/pg"
)

// migration is one numbered file. Its hash (SHA-256 in hex) is over the file and the hash of the file before, so that it
// stands for all files up to this one.
type migration struct {
	version int
	name    string
	sql     string
	hash    string
}

// ErrForeign says that other migrations than this program's have made the database, as those of a pre-release. Nothing converts
// it.
var ErrForeign = errors.New("the database was made by another pre-release of kluis, whose migrations were not this program's: nothing was changed, and nothing converts it. " +
	"Run the kluis that made it, or begin with an empty database (a private Postgres: name another folder in KLUIS_DATA, or move this one away)")

// readMigrations reads files named NNN_what.sql, numbered from 1 without gaps.
func readMigrations(files fs.FS, folder string) ([]migration, error) {
	names, err := fs.Glob(files, folder+"/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	migrations := make([]migration, len(names))
	for i, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, folder+"/"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: expected number %03d", name, i+1)
		}
		sql, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		before := ""
		if i > 0 {
			before = migrations[i-1].hash
		}
		sum := sha256.Sum256(append([]byte(before), sql...))
		migrations[i] = migration{version: version, name: name, sql: string(sql), hash: hex.EncodeToString(sum[:])}
	}
	return migrations, nil
}

// hashes returns the hashes of migrations, as the database keeps them.
func hashes(migrations []migration) []string {
	all := make([]string, len(migrations))
	for i, m := range migrations {
		all[i] = m.hash
	}
	return all
}

// appliedFrom tells whether what was applied to a database (so many files, with these hashes) agrees with migrations as far as both go. Files beyond
// those of this program come from a newer one, and are no error.
func appliedFrom(migrations []migration, version int, applied []string) bool {
	known := min(version, len(migrations))
	return known == 0 || known <= len(applied) && applied[known-1] == migrations[known-1].hash
}

// apply runs the migrations after version, all in one script and one round trip. tx is the owner's, with the schema on its search_path.
// login and role replace :login and :role; both are names that the program made or that Postgres quoted.
func apply(ctx context.Context, tx pgx.Tx, migrations []migration, version int, login, role string) error {
	if version >= len(migrations) {
		return nil
	}
	var script strings.Builder
	for _, m := range migrations[version:] {
		script.WriteString(m.sql + "\n;\n")
	}
	//sqlcheck:allow the files of migrations, in which names are quoted
	if _, err := tx.Exec(ctx, strings.NewReplacer(":login", login, ":role", role).Replace(script.String())); err != nil {
		names := migrations[version].name
		if last := migrations[len(migrations)-1].name; last != names {
			names += " to " + last
		}
		return fmt.Errorf("migration %s: %w", names, withoutValues(err))
	}
	return nil
}

// withoutValues is an error of Postgres without values of the rows that it is about, because it is logged and stored.
func withoutValues(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (strings.HasPrefix(pgErr.Code, "22") || strings.HasPrefix(pgErr.Code, "23")) {
		return fmt.Errorf("the rows do not allow it: table %q, constraint %q (SQLSTATE %s)", pgErr.TableName, pgErr.ConstraintName, pgErr.Code)
	}
	return err
}

// A migration waits no longer than this for a lock, because everybody else who wants one queues behind it. It gives way, and tries
// again.
const (
	setWaits  = `set local lock_timeout = '2s'; set local statement_timeout = 0`
	lockTries = 6
)

// retryLocked runs a migration. When others had the locks, it runs it again after a pause that doubles.
func (t *Tenancy) retryLocked(ctx context.Context, migrate func() error) error {
	for try := range lockTries {
		err := migrate()
		if !pg.Is(err, pg.LockNotAvailable, pg.Deadlock) || try == lockTries-1 {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond << try):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Prepare brings the control schema to this program's shape, and repeats grants that are missing. A newer control schema stays as it
// is: see package migrations.
func (t *Tenancy) Prepare(ctx context.Context) error {
	if err := t.bootstrap(ctx); err != nil {
		return err
	}
	there, err := t.readControl(ctx)
	if err != nil {
		return err
	}
	if there.version < len(t.controlMigrations) || there.workspaces < len(t.workspaceMigrations) {
		err := t.retryLocked(ctx, func() error {
			return t.db.Own(ctx, "kluis", func(tx pgx.Tx) error { return t.migrateControl(ctx, tx) })
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(t.heal(ctx, false, false), t.renewViews(ctx))
}

func (t *Tenancy) migrateControl(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, setWaits); err != nil {
		return err
	}
	if err := lock(ctx, tx); err != nil {
		return err
	}
	owner, err := pg.Owner(ctx, tx)
	if err != nil {
		return err
	}
	login, group := t.login(), pgx.Identifier{groupOf(owner)}.Sanitize()
	//sqlcheck:allow login is quoted
	_, err = tx.Exec(ctx, `create table if not exists kluis.migration (single boolean primary key default true check (single),
			version integer not null, hashes text[] not null default '{}', -- of this schema
			workspaces integer not null default 0); -- the newest version of workspaces that a program brought: none is made older
		insert into kluis.migration (version) values (0) on conflict do nothing;`+beforeControl(login))
	if err != nil {
		return fmt.Errorf("prepare the control schema: %w", err)
	}
	there, err := t.readControlIn(ctx, tx)
	if err != nil {
		return err
	}
	if newest := len(t.controlMigrations); there.version < newest {
		if err := apply(ctx, tx, t.controlMigrations, there.version, login, group); err != nil {
			return err
		}
		there.version, there.hashes = newest, hashes(t.controlMigrations)
	}
	_, err = tx.Exec(ctx, `update kluis.migration set version = $1, hashes = $2, workspaces = greatest(workspaces, $3)`, there.version, there.hashes, len(t.workspaceMigrations))
	return err
}

// Progress is called each time that a workspace has got its migrations: done of all that need some.
type Progress func(done, all int)

// Migrate brings the control schema and every workspace to this program's shape, each workspace in a transaction of its own, a few at once, and repeats
// grants that are missing. When one fails, the others go on: the error names each that failed, and why. After an interruption, the next call goes on where it
// was. When there is nothing to do, it costs a few queries, whatever the number of workspaces.
func (t *Tenancy) Migrate(ctx context.Context, progress Progress) error {
	if err := t.Prepare(ctx); err != nil {
		return err
	}
	if err := t.heal(ctx, false, true); err != nil {
		return err
	}
	lacking, err := t.lacking(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	var done atomic.Int64
	failed := make([]error, len(lacking))
	for i, s := range lacking {
		group.Go(func() error {
			if err := t.migrateOne(ctx, pg.Workspace{ID: s.ID}); err != nil {
				failed[i] = fmt.Errorf("workspace %s (%s): %w", s.Slug, s.ID, err)
			} else if progress != nil {
				progress(int(done.Add(1)), len(lacking))
			}
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
	return errors.Join(failed...)
}

// migrateOne migrates a workspace. When that fails, it stores why, for Status to say.
func (t *Tenancy) migrateOne(ctx context.Context, w pg.Workspace) error {
	err := t.retryLocked(ctx, func() error { return t.migrateWorkspace(ctx, w) })
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrForeign) {
		return err
	}
	noted := t.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis.workspace set failure = $2 where id = $1 and version < $3`, w.ID, err.Error(), len(t.workspaceMigrations))
		return err
	})
	return errors.Join(err, noted)
}

// migrateWorkspace gives a workspace the migrations that it lacks, in one transaction: killed anywhere, the workspace has all of them or none.
func (t *Tenancy) migrateWorkspace(ctx context.Context, w pg.Workspace) error {
	return t.db.Own(ctx, w.Schema(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, setWaits); err != nil {
			return err
		}
		var version int
		var applied []string
		err := tx.QueryRow(ctx, `select version, hashes from kluis.workspace where id = $1 for update`, w.ID).Scan(&version, &applied)
		if err != nil {
			return fmt.Errorf("lock the workspace, which a rebuild may have: %w", err)
		}
		newest := len(t.workspaceMigrations)
		if !appliedFrom(t.workspaceMigrations, version, applied) {
			return ErrForeign
		}
		if version >= newest { // another process has done it meanwhile, or the workspace lacks something else
			return t.grantAgain(ctx, tx, w)
		}
		if _, err := tx.Exec(ctx, `update kluis.workspace set version = $1, hashes = $2, failure = null where id = $3`, newest, hashes(t.workspaceMigrations), w.ID); err != nil {
			return err
		}
		analysts, err := hasViews(ctx, tx, w.Schema())
		if err != nil {
			return err
		}
		if analysts {
			if err := dropViews(ctx, tx, w.Schema()); err != nil { // a column that a view uses cannot be changed
				return err
			}
		}
		if err := t.applyTo(ctx, tx, w, version); err != nil || !analysts {
			return err
		}
		return t.makeViews(ctx, tx, w.Schema())
	})
}

// applyTo runs the files after version in a workspace. The comment on its schema then has the hash of the last file, and a dump of the schema has the
// comment.
func (t *Tenancy) applyTo(ctx context.Context, tx pgx.Tx, w pg.Workspace, version int) error {
	err := apply(ctx, tx, t.workspaceMigrations, version, t.login(), w.Schema())
	if err != nil || len(t.workspaceMigrations) == 0 {
		return err
	}
	//sqlcheck:allow a name made of the workspace's id, and hexadecimal digits
	_, err = tx.Exec(ctx, `comment on schema `+w.Schema()+` is 'migrations `+t.workspaceMigrations[len(t.workspaceMigrations)-1].hash+`'`)
	return err
}

// PutBack notes which migrations a schema has that was restored alone: fewer than before, when the backup is older than a migration. Its read models
// may have an older shape, and what happened outside the schema since is to be heeded.
func (t *Tenancy) PutBack(ctx context.Context, e Entry) error {
	err := t.db.Own(ctx, "", func(tx pgx.Tx) error {
		var comment string
		err := tx.QueryRow(ctx, `select coalesce(obj_description(oid, 'pg_namespace'), '') from pg_namespace where nspname = $1`, e.Workspace().Schema()).Scan(&comment)
		if errors.Is(err, pgx.ErrNoRows) {
			return errors.New("its schema is not there")
		}
		if err != nil {
			return err
		}
		known := slices.IndexFunc(t.workspaceMigrations, func(m migration) bool { return comment == "migrations "+m.hash })
		if known < 0 {
			return ErrNewer
		}
		_, err = tx.Exec(ctx, `update kluis.workspace set version = $2, hashes = $3, failure = null, shape = 0, heeded = null where id = $1`,
			e.ID, known+1, hashes(t.workspaceMigrations[:known+1]))
		return err
	})
	if err != nil {
		return fmt.Errorf("look which migrations workspace %q has: %w", e.Slug, err)
	}
	return nil
}

// login is the application's login, quoted as an identifier.
func (t *Tenancy) login() string { return pgx.Identifier{t.db.Login()}.Sanitize() }

// foreign makes ErrForeign of the error that a column is missing: a pre-release has made the table.
func foreign(err error) error {
	if pg.Is(err, pg.UndefinedColumn) {
		return ErrForeign
	}
	return err
}
