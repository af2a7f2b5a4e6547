package main

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// analystOf gives a connection of a new analyst, and the login.
func analystOf(t *testing.T, h *home, args ...string) (*pgx.Conn, string) {
	t.Helper()
	url := strings.TrimSpace(h.must(t, append([]string{"analyst", "grant"}, args...)...))
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return conn, conn.Config().User
}

// denied checks that Postgres refuses a statement for lack of a right.
func denied(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); !pg.Is(err, pg.AccessDenied, "25006") {
		t.Errorf("%s: %v", sql, err)
	}
}

func count(t *testing.T, conn *pgx.Conn, view string) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `select count(*) from `+view).Scan(&n); err != nil {
		t.Errorf("%s: %v", view, err)
	}
	return n
}

// An analyst reads the views of one workspace, and nothing else of the database, until the login is revoked.
func TestAnalyst(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann, bob := s.signUp(t, "acme"), s.signUp(t, "other")
	ann.task(t, "seen")
	bob.task(t, "not seen")
	conn, login := analystOf(t, h, "acme", "--name", "bi")
	if n := count(t, conn, "task_view"); n != 1 {
		t.Errorf("%d tasks", n)
	}
	super := h.superuser(t)
	acme, other := schema(t, super, "acme"), schema(t, super, "other")
	theirs, _ := analystOf(t, h, "other") // so that there are views of the other workspace, too
	for _, sql := range []string{
		`select * from ` + acme + `.task`, `select * from ` + acme + `.event`, `select * from ` + acme + `.credential`, `select * from ` + other + `.task`,
		`select * from ` + other + `_views.task_view`, `select * from kluis.workspace`, `set role ` + acme, `set role ` + owner(t, super),
		`update task_view set title = ''`, `begin read write; insert into tag_view (name) values ('x')`, `rollback; create table x (y int)`,
		`set default_transaction_read_only = off; delete from project_view`, `create temporary table x (y int)`, `create schema mine`,
	} {
		denied(t, conn, sql)
		if _, err := conn.Exec(t.Context(), `rollback`); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, stderr := h.run("analyst", "grant", "acme", "--name", "bi"); status != failure || !strings.Contains(stderr, "revoke it first") {
		t.Errorf("granted twice: %d, %s", status, stderr)
	}
	for _, wrong := range [][]string{{"acme", "--name", "B'I"}, {"acme", "--days", "0"}} {
		if status, _, stderr := h.run(append([]string{"analyst", "grant"}, wrong...)...); status != misuse || stderr == "" {
			t.Errorf("%v: status %d, %s", wrong, status, stderr)
		}
	}
	if out := h.must(t, "analyst", "list"); !strings.Contains(out, "acme       "+login) || strings.Count(out, " open") != 2 {
		t.Errorf("list: %s", out)
	}

	h.must(t, "workspace", "close", "acme")
	denied(t, conn, `select count(*) from `+acme+`_views.task_view`)
	if n := count(t, theirs, "task_view"); n != 1 {
		t.Errorf("the neighbour sees %d tasks", n)
	}
	h.must(t, "workspace", "open", "acme")
	if n := count(t, conn, "task_view"); n != 1 {
		t.Errorf("%d tasks after the release", n)
	}

	h.must(t, "analyst", "revoke", login)
	denied(t, conn, `select count(*) from `+acme+`_views.task_view`)
	if again, err := pgx.ConnectConfig(t.Context(), conn.Config()); err == nil {
		again.Close(t.Context())
		t.Error("a login that was revoked logs in")
	}
	if status, _, stderr := h.run("analyst", "revoke", login); status != failure || !strings.Contains(stderr, "no such analyst") {
		t.Errorf("revoked twice: %d, %s", status, stderr)
	}
	ann.task(t, "another")
	analystOf(t, h, "acme", "--name", "bi") // the name is free again
}

// The views of analysts survive a rebuild and the migrations of a newer program, and no view has sealed fields.
func TestAnalystViewsStay(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	ann.task(t, "one")
	ann.want(t, http.StatusOK, "GET", "/api/tasks", "") // folded
	conn, _ := analystOf(t, h, "acme")
	h.must(t, "rebuild", "acme")
	if n := count(t, conn, "task_view"); n != 1 {
		t.Errorf("%d tasks after a rebuild", n)
	}
	super := h.superuser(t)
	acme := schema(t, super, "acme")
	for _, sql := range []string{
		`comment on schema ` + acme + `_views is 'of an older program'; drop view ` + acme + `_views.task_view`,
		`drop table ` + acme + `.tag, ` + acme + `.task, ` + acme + `.project, ` + acme + `.comment, ` + acme + `.attachment, ` + acme + `.time_entry, ` + acme + `.member, ` + acme + `.event cascade`, // as before the restore of one workspace
	} {
		keep := dump(t, h.superuserURL(t), "--schema="+acme)
		if _, err := super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(sql, "drop") {
			psql(t, h.superuserURL(t), keep)
		}
		h.must(t, "migrate")
		if n := count(t, conn, "task_view"); n != 1 {
			t.Errorf("%d tasks after %s", n, sql)
		}
	}
	rows, _ := conn.Query(t.Context(), `select table_name || '.' || column_name from information_schema.columns where table_schema = $1`, acme+"_views")
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(columns) < 40 {
		t.Fatal(columns, err)
	}
	for _, column := range columns {
		for _, personal := range []string{"email", "full_name", "body", "description", "data", "meta"} {
			if strings.HasSuffix(column, "."+personal) {
				t.Errorf("%s is seen by analysts", column)
			}
		}
	}
	for _, column := range columns { // each is in the documentation
		view, name, _ := strings.Cut(column, ".")
		if !regexp.MustCompile("\\| `" + view + "` \\|[^|]*\\| `[^`]*\\b" + name + "\\b").MatchString(analytics(t)) {
			t.Errorf("docs/analytics.md does not name %s", column)
		}
	}
}

// The queries of docs/analytics.md run as an analyst.
func TestAnalyticsQueries(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	ann := h.serve(t).signUp(t, "acme")
	ann.task(t, "one")
	conn, _ := analystOf(t, h, "acme")
	queries := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(analytics(t), -1)
	if len(queries) < 10 {
		t.Fatalf("%d queries", len(queries))
	}
	answers := 0
	for _, query := range queries {
		tag, err := conn.Exec(t.Context(), query[1])
		if err != nil {
			t.Errorf("%s: %v", query[1], err)
		}
		answers += int(tag.RowsAffected())
	}
	if answers == 0 {
		t.Error("none of the queries finds anything")
	}
}

func analytics(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/analytics.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
