package tenancy

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/internal/pg"
)

// migration is one numbered file.
type migration struct {
	version int
	name    string
	sql     string
}

// readLine reads a line of files named NNN_what.sql, numbered from 1 without gaps.
func readLine(files fs.FS, folder string) ([]migration, error) {
	names, err := fs.Glob(files, folder+"/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	line := make([]migration, len(names))
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
		line[i] = migration{version: version, name: name, sql: string(sql)}
	}
	return line, nil
}

// apply runs the files after version in tx, which is the owner's with the schema on its path.
// login and role stand in for :login and :role; both are names that we made or that Postgres quoted.
func apply(ctx context.Context, tx pgx.Tx, line []migration, version int, login, role string) error {
	names := strings.NewReplacer(":login", login, ":role", role)
	for _, m := range line[version:] {
		//sqlcheck:allow the file of a migration, in which names are quoted
		if _, err := tx.Exec(ctx, names.Replace(m.sql)); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return nil
}

// Progress is called as workspaces get their migrations: so many done of all that need one.
type Progress func(done, all int)

// Migrate brings the control schema and every workspace to this program's shape: each workspace in a
// transaction of its own, a few at once. Interrupted, it goes on where it was. When there is nothing to
// do it costs a few queries, whatever the number of workspaces.
func (t *Tenancy) Migrate(ctx context.Context, progress Progress) error {
	if err := t.bootstrap(ctx); err != nil {
		return err
	}
	if err := t.migrateControl(ctx); err != nil {
		return err
	}
	behind, err := t.behind(ctx)
	if err != nil {
		return err
	}
	if newest := slices.MaxFunc(append(behind, Entry{}), byVersion); newest.Version > len(t.workspaceLine) {
		return fmt.Errorf("workspace %s is at migration %d, this program knows %d: it was migrated by a newer kluis", newest.ID, newest.Version, len(t.workspaceLine))
	}
	var group errgroup.Group // one that fails does not keep the others from theirs
	group.SetLimit(4)
	var done atomic.Int64
	for _, entry := range behind {
		group.Go(func() error {
			err := t.migrateWorkspace(ctx, entry.Workspace())
			if err == nil && progress != nil {
				progress(int(done.Add(1)), len(behind))
			}
			return err
		})
	}
	return group.Wait()
}

func byVersion(a, b Entry) int { return a.Version - b.Version }

func (t *Tenancy) migrateControl(ctx context.Context) error {
	return t.db.Own(ctx, "kluis", func(tx pgx.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		login, err := t.login(ctx, tx)
		if err != nil {
			return err
		}
		//sqlcheck:allow login is quoted
		_, err = tx.Exec(ctx, `create table if not exists kluis.migration (single boolean primary key default true check (single), version integer not null);
			insert into kluis.migration (version) values (0) on conflict do nothing;
			grant usage on schema kluis to `+login+`; grant select on kluis.migration to `+login)
		if err != nil {
			return fmt.Errorf("prepare the control schema: %w", err)
		}
		var version int
		if err := tx.QueryRow(ctx, `select version from kluis.migration`).Scan(&version); err != nil {
			return err
		}
		if version > len(t.controlLine) {
			return fmt.Errorf("the database is at control migration %d, this program knows %d: it was migrated by a newer kluis", version, len(t.controlLine))
		}
		if err := apply(ctx, tx, t.controlLine, version, login, ""); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update kluis.migration set version = $1`, len(t.controlLine))
		return err
	})
}

func (t *Tenancy) migrateWorkspace(ctx context.Context, w pg.Workspace) error {
	err := pgx.BeginFunc(ctx, t.db.Pool(), func(tx pgx.Tx) error {
		login, err := t.login(ctx, tx)
		if err != nil {
			return err
		}
		var version int
		err = tx.QueryRow(ctx, `select version from kluis.workspace where id = $1 for update`, w.ID).Scan(&version)
		if err != nil || version >= len(t.workspaceLine) {
			return err // done by another process meanwhile
		}
		if _, err := tx.Exec(ctx, `update kluis.workspace set version = $1 where id = $2`, len(t.workspaceLine), w.ID); err != nil {
			return err
		}
		if err := pg.Become(ctx, tx, pg.Owner, w.Schema()); err != nil {
			return err
		}
		return apply(ctx, tx, t.workspaceLine, version, login, w.Schema())
	})
	if err != nil {
		return fmt.Errorf("workspace %s: %w", w.ID, err)
	}
	return nil
}

// login is the application's login, quoted as an identifier.
func (t *Tenancy) login(ctx context.Context, tx pgx.Tx) (string, error) {
	var name string
	err := tx.QueryRow(ctx, `select session_user`).Scan(&name)
	return pgx.Identifier{name}.Sanitize(), err
}

// Status says which migrations the database has.
type Status struct {
	Control, ControlAll              int
	Workspaces, Behind, WorkspaceAll int
}

// Status counts; it costs one query.
func (t *Tenancy) Status(ctx context.Context) (Status, error) {
	s := Status{ControlAll: len(t.controlLine), WorkspaceAll: len(t.workspaceLine)}
	err := t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select (select version from kluis.migration), count(*), count(*) filter (where version < $1)
			from kluis.workspace where status = 'active'`, s.WorkspaceAll).Scan(&s.Control, &s.Workspaces, &s.Behind)
	})
	if pg.Is(err, pg.UndefinedTable, pg.NoSuchSchema) {
		return s, nil // a database that was never migrated
	}
	return s, err
}
