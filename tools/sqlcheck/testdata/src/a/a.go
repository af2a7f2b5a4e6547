package a

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

const columns = "id, title"

//go:embed a.go
var file string

var list = "SELECT " + columns + " FROM task"

var Exported = "SELECT 1"

type row struct{ table, sql string }

type pointed struct{ sql string }

type statement struct {
	sql string
	SQL string
}

func newStatement(sql string) statement { return statement{sql: sql} }

func run(ctx context.Context, c *pgx.Conn, s statement, list []statement) {
	c.Exec(ctx, s.sql)
	for _, s := range list {
		c.Exec(ctx, s.sql)
	}
	c.Exec(ctx, s.SQL) // want `SQL from strings`
	newStatement("SELECT 1")
	p := &pointed{}
	c.Exec(ctx, p.sql)                           // want `SQL from strings`
	newStatement("SELECT 1 FROM " + list[0].SQL) // want `SQL from strings`
}

func fromOutside(table string) []row {
	_ = []*pointed{{"SELECT 1 FROM " + table}}
	return []row{{"task", "SELECT 1"}, {table, "SELECT 1 FROM " + table}}
}

func good(ctx context.Context, c *pgx.Conn, b *pgx.Batch, schema, sql string, n int) {
	c.Exec(ctx, "SELECT 1")
	c.Exec(ctx, "SELECT "+columns+" FROM task WHERE id = $1", schema)
	c.Exec(ctx, file)
	c.Exec(ctx, list)
	c.Exec(ctx, sql)
	c.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize())
	c.Exec(ctx, fmt.Sprintf("CREATE SCHEMA %s", pgx.Identifier{schema}.Sanitize()))
	c.Exec(ctx, fmt.Sprintf("SELECT pg_advisory_lock(%d)", n))
	b.Queue("SELECT 1")
	q := "SELECT 1"
	if n > 0 {
		q += " WHERE true"
	}
	c.Exec(ctx, q)
	c.Exec(ctx, "SET LOCAL role = x; SET CONSTRAINTS ALL DEFERRED; UPDATE t SET a = 1")
	c.Exec(ctx, "SELECT set_config('role', $1, true)", schema)
	c.Exec(ctx, "DELETE FROM "+schema) //sqlcheck:allow the schema is a constant of the caller
	//sqlcheck:allow the schema is a constant of the caller
	c.Exec(ctx, "DELETE FROM "+schema)
	find(schema)
}

func bad(ctx context.Context, c *pgx.Conn, b *pgx.Batch, name string, r row, names []string) {
	c.Exec(ctx, "SELECT * FROM task WHERE title = '"+name+"'")              // want `SQL from strings`
	c.Exec(ctx, fmt.Sprintf("SELECT * FROM task WHERE title = '%s'", name)) // want `SQL from strings`
	b.Queue("DELETE FROM " + name)                                          // want `SQL from strings`
	c.Exec(ctx, name)                                                       // want `SQL from strings`
	c.Exec(ctx, r.sql)                                                      // want `SQL from strings`
	c.Exec(ctx, Exported)                                                   // want `SQL from strings`
	c.Exec(ctx, strings.Join(names, ","))                                   // want `SQL from strings`
	handOn(ctx, c, "SELECT "+name)                                          // want `SQL from strings`
	q := "SELECT 1"
	q = q + name
	c.Exec(ctx, q) // want `SQL from strings`
	if len(names) > 0 {
		name = "SELECT 1"
	}
	c.Exec(ctx, name) // want `SQL from strings`
	for _, sql := range names {
		c.Exec(ctx, sql) // want `SQL from strings`
	}
	filled := "SELECT 1"
	fill(&filled)
	c.Exec(ctx, filled)                                       // want `SQL from strings`
	c.Exec(ctx, "SET role = x")                               // want `session-level SET`
	c.Exec(ctx, "SELECT 1; set search_path = x")              // want `session-level SET`
	c.Exec(ctx, "SELECT set_config('role', $1, false)", name) // want `session-level SET`
	c.Exec(ctx, "DELETE FROM "+name)                          /* want `SQL from strings` `without a reason` */ //sqlcheck:allow
}

func handOn(ctx context.Context, c *pgx.Conn, sql string) { c.Exec(ctx, sql) }

func fill(s *string) { *s = "x" }

func find(query string) {}
