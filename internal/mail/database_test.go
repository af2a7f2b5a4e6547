package mail

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// A house is a database with the three kinds of roles that the program has: the login, the owner, and a workspace's.
type house struct {
	db        *pg.DB
	owner     string
	workspace pg.Workspace
}

func newHouse(t *testing.T) house {
	t.Helper()
	db, err := pg.Open(t.Context(), pgtest.Database(t), 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w := pg.Workspace{ID: uuid.New()}
	h := house{db: db, owner: "kluis_owner_" + w.Schema(), workspace: w}
	for _, role := range []string{h.owner, w.Schema()} {
		h.exec(t, `CREATE ROLE `+role+` NOLOGIN; GRANT `+role+` TO SESSION_USER`)
	}
	h.exec(t, `CREATE SCHEMA kluis AUTHORIZATION `+h.owner)
	h.exec(t, `CREATE SCHEMA AUTHORIZATION `+w.Schema())
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
		return pg.AsWorkspace(t.Context(), tx, h.workspace, func() error { return do(tx) })
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
