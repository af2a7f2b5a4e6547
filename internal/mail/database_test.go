package mail

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// A house is a database with the three kinds of roles that the program has: the login, [pg.Owner], and a workspace's.
type house struct {
	db        *pg.DB
	workspace string // a role, and its schema
}

func newHouse(t *testing.T) house {
	t.Helper()
	db, err := pg.Open(t.Context(), pgtest.Database(t), 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	h := house{db: db, workspace: "ws_" + strings.ReplaceAll(uuid.NewString(), "-", "")}
	h.ensureOwner(t)
	h.exec(t, `CREATE ROLE `+h.workspace+` NOLOGIN`)
	h.exec(t, `GRANT `+h.workspace+` TO SESSION_USER`)
	h.exec(t, `CREATE SCHEMA AUTHORIZATION `+h.workspace)
	return h
}

func (h house) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := h.db.Pool().Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// inWorkspace runs do in a transaction in the workspace's role.
func (h house) inWorkspace(t *testing.T, do func(tx pgx.Tx) error) error {
	t.Helper()
	return h.db.Control(t.Context(), func(tx pgx.Tx) error {
		if err := pg.Become(t.Context(), tx, h.workspace, h.workspace); err != nil {
			return err
		}
		return do(tx)
	})
}

// texts are the first column of a query.
func (h house) texts(t *testing.T, sql string) []string {
	t.Helper()
	rows, err := h.db.Pool().Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// ensureOwner makes the owner's role, which belongs to the whole server: another test may do so at the same moment.
func (h house) ensureOwner(t *testing.T) {
	t.Helper()
	for _, sql := range []string{`CREATE ROLE ` + pg.Owner + ` NOLOGIN`, `GRANT ` + pg.Owner + ` TO SESSION_USER`} {
		var err error
		for range 20 {
			_, err = h.db.Pool().Exec(t.Context(), sql)
			if !pg.Is(err, "XX000") { // tuple concurrently updated
				break
			}
		}
		if err != nil && !pg.Is(err, "42710", pg.UniqueViolation) { // there already
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// asOwner runs do in a transaction in the owner's role.
func (h house) asOwner(t *testing.T, do func(tx pgx.Tx) error) error {
	t.Helper()
	return h.db.Control(t.Context(), func(tx pgx.Tx) error {
		if err := pg.Become(t.Context(), tx, pg.Owner, ""); err != nil {
			return err
		}
		return do(tx)
	})
}
