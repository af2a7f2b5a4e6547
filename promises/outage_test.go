package promises

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// outage is a database that cannot do something for a while.
type outage struct {
	*pgx.Conn // of the superuser, beside that database
	name      string
}

func newOutage(t *testing.T, s *site) outage {
	t.Helper()
	u := must(url.Parse(pgtest.Superuser(t, s.url)))
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	conn := must(pgx.Connect(t.Context(), u.String()))
	t.Cleanup(func() { conn.Close(t.Context()) })
	return outage{conn, name}
}

// reconfigure changes what new connections find, and ends those there are, as a failover does.
func (o outage) reconfigure(t *testing.T, how string) {
	t.Helper()
	if _, err := o.Exec(t.Context(), `alter database `+o.name+` `+how); err != nil {
		t.Fatal(err)
	}
	o.kill(t)
}

func (o outage) kill(t *testing.T) {
	t.Helper()
	if _, err := o.Exec(t.Context(), `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1`, o.name); err != nil {
		t.Fatal(err)
	}
}

// script runs SQL as the owner of a workspace's tables.
func (outage) script(t *testing.T, c *client, sql string) {
	t.Helper()
	if err := c.db.InAsOwner(t.Context(), c.workspace, func(tx *pg.Tx) error { return tx.Script(t.Context(), sql) }); err != nil {
		t.Fatal(err)
	}
}

// What the database cannot do at the moment is 503 with a code of its own, /readyz says so, reading goes on where that is
// possible, and afterwards everything works at once.
func TestOutages(t *testing.T) {
	t.Parallel()
	for code, c := range map[string]struct {
		begin, end func(*testing.T, outage, *client)
		read       int // the status of a read
		ready      int
	}{
		"database_read_only": {
			func(t *testing.T, o outage, _ *client) { o.reconfigure(t, `set default_transaction_read_only = on`) },
			func(t *testing.T, o outage, _ *client) { o.reconfigure(t, `reset default_transaction_read_only`) }, 200, 503},
		"database_busy": {
			func(t *testing.T, o outage, _ *client) { o.reconfigure(t, `connection limit 0`) },
			func(t *testing.T, o outage, _ *client) { o.reconfigure(t, `connection limit -1`) }, 503, 503},
		"database_unavailable": {
			func(t *testing.T, o outage, _ *client) { o.reconfigure(t, `allow_connections false`) },
			func(t *testing.T, o outage, _ *client) { o.reconfigure(t, `allow_connections true`) }, 503, 503},
		// A disk cannot be filled here: what Postgres says then is said in its place.
		"database_full": {func(t *testing.T, o outage, c *client) {
			o.script(t, c, `create function disk_full() returns trigger language plpgsql as $$ begin raise 'could not extend file' using errcode = 'disk_full'; end $$`)
			o.script(t, c, `create trigger no_room before insert on event execute function disk_full()`)
			o.script(t, c, `create trigger no_room before update on session execute function disk_full()`)
		}, func(t *testing.T, o outage, c *client) { o.script(t, c, `drop function disk_full() cascade`) }, 200, 200},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := s.newProcess(t, false)
			o := newOutage(t, s)
			ada := p.signUp(t)
			task := ada.newTask(t)
			ada.call(t, "GET", taskPath(task), nil).want(t, 200)
			ada.newTask(t)                                                                             // not folded yet
			o.script(t, ada, `update session set used_at = now() - interval '10 minutes'`)             // reading would note its use
			reads, writes := []string{taskPath(task), "/api/tasks", "/api/me"}, []string{"/api/tasks"} // of whoever may see all
			c.begin(t, o, ada)
			begun := time.Now()
			for _, path := range reads {
				a := ada.call(t, "GET", path, nil).want(t, c.read)
				if behind := a.header.Get("Kluis-Behind"); path == "/api/tasks" && code == "database_read_only" && behind != "1" {
					t.Errorf("%s: behind %q", a.what, behind)
				}
			}
			for range 10 {
				for _, path := range writes {
					if a := ada.call(t, "POST", path, object{"title": "x"}); a.problem(t, 503, code).Status != 503 || a.header.Get("Retry-After") == "" {
						t.Errorf("%s: no Retry-After", a.what)
					}
				}
			}
			if code != "database_full" {
				p.public().call(t, "POST", "/api/login", object{"workspace": ada.slug, "email": ada.email, "password": ada.password}).problem(t, 503, code)
			}
			if a := p.public().call(t, "GET", "/readyz", nil).want(t, c.ready); c.ready == 503 {
				a.problem(t, 503, code)
			}
			if took := time.Since(begun); took > time.Minute { // as long as three appends that nobody refuses
				t.Errorf("it took %s", took)
			}
			if lines := strings.Count(p.log.String(), "the database failed a request"); lines == 0 || lines > 2+int(time.Since(begun).Seconds()) {
				t.Errorf("%d lines in the log", lines)
			}
			c.end(t, o, ada)
			ada.call(t, "GET", taskPath(task), nil).want(t, 200)
			ada.newTask(t)
			p.public().call(t, "GET", "/readyz", nil).want(t, 200)
		})
	}
}

// A connection that was killed costs nobody an answer: reads are asked again, and so are commands, by what they would have stored.
func TestKilledConnections(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newProcess(t, false)
	o := newOutage(t, s)
	ada := p.signUp(t)
	task := ada.newTask(t)
	for range 5 {
		o.kill(t)
		ada.call(t, "GET", taskPath(task), nil).want(t, 200)
		o.kill(t)
		ada.newTask(t)
		o.kill(t)
		ada.call(t, "GET", "/api/members", nil).want(t, 200)
		o.kill(t)
		p.public().call(t, "GET", "/readyz", nil).want(t, 200)
	}
	if n := len(pages[object](t, ada, "/api/tasks", 200)); n != 6 {
		t.Errorf("%d tasks, want 6", n)
	}
}
