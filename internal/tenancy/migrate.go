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

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/internal/pg"
)

// migration is one numbered file. Its hash, SHA-256 in hex, is over the file and the hash of the file before, so that it
// stands for the line up to here.
type migration struct {
	version int
	name    string
	sql     string
	hash    string
}

// ErrForeign says that the database was made by another line of migrations, as one of a pre-release: nothing brings it
// to this program's shape.
var ErrForeign = errors.New("the database was made by another pre-release of kluis, whose migrations were not this program's: nothing was changed, and nothing converts it. " +
	"Run the kluis that made it, or begin with an empty database (a private Postgres: name another folder in KLUIS_DATA, or move this one away)")

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
		sum := sha256.Sum256(append([]byte(hashOf(line, i)), sql...))
		line[i] = migration{version: version, name: name, sql: string(sql), hash: hex.EncodeToString(sum[:])}
	}
	return line, nil
}

// hashOf stands for the first files of a line; "" for none of them.
func hashOf(line []migration, version int) string {
	if version == 0 {
		return ""
	}
	return line[version-1].hash
}

// goesOn tells whether a line begins with the files that were applied.
func goesOn(line []migration, version int, hash string) error {
	if version > len(line) {
		return fmt.Errorf("it is at migration %d, this program knows %d: it was migrated by a newer kluis", version, len(line))
	}
	if hash != hashOf(line, version) {
		return ErrForeign
	}
	return nil
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
	if err := t.heal(ctx, false); err != nil {
		return err
	}
	behind, err := t.behind(ctx)
	if err != nil {
		return err
	}
	if newest := slices.MaxFunc(append(behind, Entry{}), byVersion); newest.Version > len(t.workspaceLine) {
		return fmt.Errorf("workspace %s: %w", newest.ID, goesOn(t.workspaceLine, newest.Version, newest.Hash))
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
		login := t.login()
		owner, err := pg.Owner(ctx, tx)
		if err != nil {
			return err
		}
		//sqlcheck:allow login is quoted
		_, err = tx.Exec(ctx, `create table if not exists kluis.migration (single boolean primary key default true check (single), version integer not null, hash text not null default '');
			insert into kluis.migration (version) values (0) on conflict do nothing;`+beforeControl(login))
		if err != nil {
			return fmt.Errorf("prepare the control schema: %w", err)
		}
		var version int
		var hash string
		if err := tx.QueryRow(ctx, `select version, hash from kluis.migration`).Scan(&version, &hash); err != nil {
			return foreign(err)
		}
		if err := goesOn(t.controlLine, version, hash); err != nil {
			return fmt.Errorf("control schema: %w", err)
		}
		if err := apply(ctx, tx, t.controlLine, version, login, pgx.Identifier{groupOf(owner)}.Sanitize()); err != nil {
			return err
		}
		newest := len(t.controlLine)
		_, err = tx.Exec(ctx, `update kluis.migration set version = $1, hash = $2`, newest, hashOf(t.controlLine, newest))
		return err
	})
}

func (t *Tenancy) migrateWorkspace(ctx context.Context, w pg.Workspace) error {
	err := t.db.Own(ctx, w.Schema(), func(tx pgx.Tx) error {
		var version int
		var hash string
		err := tx.QueryRow(ctx, `select version, hash from kluis.workspace where id = $1 for update`, w.ID).Scan(&version, &hash)
		if err != nil {
			return err
		}
		newest := len(t.workspaceLine)
		if err := goesOn(t.workspaceLine, version, hash); err != nil || version == newest {
			return err // or done by another process meanwhile
		}
		if _, err := tx.Exec(ctx, `update kluis.workspace set version = $1, hash = $2 where id = $3`, newest, hashOf(t.workspaceLine, newest), w.ID); err != nil {
			return err
		}
		return apply(ctx, tx, t.workspaceLine, version, t.login(), w.Schema())
	})
	if err != nil {
		return fmt.Errorf("workspace %s: %w", w.ID, err)
	}
	return nil
}

// login is the application's login, quoted as an identifier.
func (t *Tenancy) login() string { return pgx.Identifier{t.db.Login()}.Sanitize() }

// foreign makes ErrForeign of what says that a column is not there: data from before it.
func foreign(err error) error {
	if pg.Is(err, pg.UndefinedColumn) {
		return ErrForeign
	}
	return err
}

// Status says which migrations the database has. Foreign workspaces have others than this program's.
type Status struct {
	Control, ControlAll                       int
	Workspaces, Behind, Foreign, WorkspaceAll int
}

// Status counts; it costs one query. A control schema with other migrations than this program's is ErrForeign.
func (t *Tenancy) Status(ctx context.Context) (Status, error) {
	s := Status{ControlAll: len(t.controlLine), WorkspaceAll: len(t.workspaceLine)}
	hashes := make([]string, s.WorkspaceAll)
	for i, m := range t.workspaceLine {
		hashes[i] = m.hash
	}
	var hash string
	err := t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select m.version, m.hash, count(w), count(w) filter (where w.version < $1), count(w) filter (where w.hash <> ($2::text[])[w.version])
			from kluis.migration m left join kluis.workspace w on w.status = 'active' group by m.version, m.hash`, s.WorkspaceAll, hashes).
			Scan(&s.Control, &hash, &s.Workspaces, &s.Behind, &s.Foreign)
	})
	if pg.Is(err, pg.UndefinedTable, pg.NoSuchSchema) {
		return s, nil // a database that was never migrated
	}
	if err == nil && s.Control <= s.ControlAll { // the hash of a newer one is unknown
		err = goesOn(t.controlLine, s.Control, hash)
	}
	return s, foreign(err)
}
