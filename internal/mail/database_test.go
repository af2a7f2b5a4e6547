package mail

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A house is a database with the three kinds of roles that the program has.
type house struct {
	admin     *pgxpool.Pool // superuser: sees everything
	app       *pgxpool.Pool // connects as the login
	login     string        // owns nothing, may take the two others
	owner     string
	workspace string // a role, and its schema
}

func newHouse(t *testing.T) house {
	t.Helper()
	url := databaseURL(t)
	suffix := "_" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12] // roles belong to the whole server
	h := house{admin: connect(t, url, ""), owner: "mail_owner" + suffix, login: "mail_login" + suffix, workspace: "mail_ws" + suffix}
	var database string
	if err := h.admin.QueryRow(t.Context(), `SELECT current_database()`).Scan(&database); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`CREATE ROLE ` + h.owner + ` NOLOGIN`,
		`CREATE ROLE ` + h.login + ` LOGIN NOINHERIT`,
		`CREATE ROLE ` + h.workspace + ` NOLOGIN`,
		`GRANT ` + h.owner + `, ` + h.workspace + ` TO ` + h.login,
		`GRANT CREATE ON DATABASE ` + pgx.Identifier{database}.Sanitize() + ` TO ` + h.owner,
		`CREATE SCHEMA ` + h.workspace + ` AUTHORIZATION ` + h.workspace,
	} {
		if _, err := h.admin.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	t.Cleanup(func() {
		roles := h.owner + `, ` + h.login + `, ` + h.workspace
		_, _ = h.admin.Exec(context.Background(), `DROP OWNED BY `+roles+` CASCADE`)
		_, _ = h.admin.Exec(context.Background(), `DROP ROLE `+roles)
	})
	h.app = connect(t, url, h.login)
	return h
}

// connect makes a pool, whose connections are the role's when one is given.
func connect(t *testing.T, url, role string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 10
	if role != "" {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `SET SESSION AUTHORIZATION `+role)
			return err
		}
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// inWorkspace runs do in a transaction in the workspace's role, as the program does.
func (h house) inWorkspace(t *testing.T, do func(tx pgx.Tx) error) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), h.app, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT set_config('role', $1, true), set_config('search_path', $1, true)`, h.workspace)
		if err != nil {
			return err
		}
		return do(tx)
	})
}

// values are the first column of a query.
func values[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) []T {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func databaseURL(t *testing.T) string {
	url := os.Getenv("MAIL_TEST_DB")
	admin := connect(t, url, "")
	name := "t_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := admin.Exec(t.Context(), `CREATE DATABASE `+name); err != nil {
		t.Fatal(err)
	}
	return url + " dbname=" + name
}
