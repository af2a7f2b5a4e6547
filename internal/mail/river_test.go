package mail

import (
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)

	// A process that was killed after two steps.
	for range 2 {
		if err := h.step(t); err != nil {
			t.Fatal(err)
		}
	}
	// Then several at once.
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := Migrate(t.Context(), h.app, h.owner, h.login); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()

	steps := values[string](t, h.admin, `SELECT version || ' ' || created_at FROM kluis_jobs.river_migration ORDER BY version`)
	if len(steps) != 8 {
		t.Errorf("steps %q", steps)
	}
	owners := values[string](t, h.admin, `
		SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'kluis_jobs'::regnamespace
		UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'kluis_jobs'`)
	if len(owners) != 1 || owners[0] != h.owner {
		t.Errorf("owners %q, want %s", owners, h.owner)
	}
	if err := Migrate(t.Context(), h.app, h.owner, h.login); err != nil {
		t.Error(err)
	}
	again := values[string](t, h.admin, `SELECT version || ' ' || created_at FROM kluis_jobs.river_migration ORDER BY version`)
	if strings.Join(again, ",") != strings.Join(steps, ",") {
		t.Errorf("the second run changed %q to %q", steps, again)
	}
}

// step runs MigrateTx once, in the owner's role.
func (h house) step(t *testing.T) error {
	return pgx.BeginFunc(t.Context(), h.app, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT set_config('role', $1, true)`, h.owner); err != nil {
			return err
		}
		more, err := MigrateTx(t.Context(), tx, h.login)
		if !more && err == nil {
			t.Error("no more steps")
		}
		return err
	})
}

func TestMigrateRefusesNewerDatabase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := Migrate(t.Context(), h.app, h.owner, h.login); err != nil {
		t.Fatal(err)
	}
	if _, err := h.admin.Exec(t.Context(), `INSERT INTO kluis_jobs.river_migration (line, version) VALUES ('main', 999)`); err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), h.app, h.owner, h.login); err == nil || !strings.Contains(err.Error(), "999") {
		t.Error(err)
	}
}

// The login uses jobs and owns nothing, a workspace has nothing to do with them.
func TestRights(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := Migrate(t.Context(), h.app, h.owner, h.login); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`DROP TABLE kluis_jobs.river_job`, `TRUNCATE kluis_jobs.river_job`, `ALTER TABLE kluis_jobs.river_job ADD x int`, `CREATE TABLE kluis_jobs.x ()`,
	} {
		if _, err := h.app.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("the login may %s: %v", statement, err)
		}
	}
	for _, statement := range []string{
		`SELECT * FROM kluis_jobs.river_job`, `INSERT INTO kluis_jobs.river_job (kind, args, max_attempts) VALUES ('mail', '{}', 1)`,
	} {
		err := h.inWorkspace(t, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), statement)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("a workspace may %s: %v", statement, err)
		}
	}
	// Another login, later.
	other := newHouse(t)
	_, err := h.admin.Exec(t.Context(), `GRANT `+h.owner+` TO `+other.login)
	if err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), h.app, h.owner, other.login); err != nil {
		t.Fatal(err)
	}
	if may := values[bool](t, h.admin, `SELECT has_table_privilege($1, 'kluis_jobs.river_job', 'INSERT')`, other.login); !may[0] {
		t.Error("another login was not granted anything")
	}
}
