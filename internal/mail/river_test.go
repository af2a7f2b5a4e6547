package mail

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

const steps = `SELECT version || ' ' || created_at FROM kluis_jobs.river_migration ORDER BY version`

func TestMigrate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 2 { // a process that was killed after two steps
		err := h.db.Admin(t.Context(), func(tx pgx.Tx) error {
			if err := errors.Join(pg.CreateSchema(t.Context(), tx, Schema), pg.BecomeOwner(t.Context(), tx, "")); err != nil {
				return err
			}
			more, err := advance(t.Context(), tx, h.db.Login())
			if !more && err == nil {
				t.Error("no more steps")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for range 4 { // then several at once
		all.Go(func() {
			if err := Migrate(t.Context(), h.db); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	first := h.texts(t, steps)
	if len(first) != 8 {
		t.Errorf("steps %q", first)
	}
	owners := h.texts(t, `
		SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE relnamespace = 'kluis_jobs'::regnamespace
		UNION SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'kluis_jobs'`)
	if !slices.Equal(owners, []string{h.owner}) {
		t.Errorf("owners %q", owners)
	}
	if err := Migrate(t.Context(), h.db); err != nil {
		t.Error(err)
	}
	if again := h.texts(t, steps); !slices.Equal(first, again) {
		t.Errorf("another run changed %q to %q", first, again)
	}
}

// An older program goes on with what a newer one has migrated.
func TestMigrateLeavesNewerDatabase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := Migrate(t.Context(), h.db); err != nil {
		t.Fatal(err)
	}
	h.exec(t, `INSERT INTO kluis_jobs.river_migration (line, version) VALUES ('main', 999)`)
	if err := Migrate(t.Context(), h.db); err != nil {
		t.Error(err)
	}
}

// The login uses jobs and owns nothing; a workspace has nothing to do with them.
func TestRights(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := Migrate(t.Context(), h.db); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`DROP TABLE kluis_jobs.river_job`, `TRUNCATE kluis_jobs.river_job`, `ALTER TABLE kluis_jobs.river_job ADD x int`, `CREATE TABLE kluis_jobs.x ()`,
	} {
		if _, err := h.db.Pool().Exec(t.Context(), sql); !pg.Is(err, pg.AccessDenied) {
			t.Errorf("the login may %s: %v", sql, err)
		}
	}
	for _, sql := range []string{
		`SELECT * FROM kluis_jobs.river_job`, `INSERT INTO kluis_jobs.river_job (kind, args, max_attempts) VALUES ('mail', '{}', 1)`,
	} {
		err := h.inWorkspace(t, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), sql)
			return err
		})
		if !pg.Is(err, pg.AccessDenied) {
			t.Errorf("a workspace may %s: %v", sql, err)
		}
	}
}

// A login that came later, or lost its rights, gets them.
func TestMigrateGrantsAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := Migrate(t.Context(), h.db); err != nil {
		t.Fatal(err)
	}
	err := h.db.Own(t.Context(), "", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `
			REVOKE ALL ON SCHEMA kluis_jobs FROM SESSION_USER; REVOKE ALL ON ALL TABLES IN SCHEMA kluis_jobs FROM SESSION_USER`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.db.Pool().Exec(t.Context(), `SELECT FROM kluis_jobs.river_job`); !pg.Is(err, pg.AccessDenied) {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), h.db); err != nil {
		t.Fatal(err)
	}
	h.exec(t, `DELETE FROM kluis_jobs.river_job`)
}
