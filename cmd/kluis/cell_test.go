package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/toolbox"
)

// cells are two Postgres servers, each of a region, and an installation on both. The network between the installation and a region can be cut off.
type cells struct {
	*home
	region map[string]*cellServer
}

type cellServer struct {
	*pgserver.Server
	network *network
	blobs   string
	super   *pgx.Conn // see admin
}

// newCells makes be, the home, and de.
func newCells(t *testing.T) *cells {
	t.Helper()
	c := &cells{home: keysAlone(t), region: map[string]*cellServer{}}
	var starting sync.WaitGroup
	var mu sync.Mutex
	for _, name := range []string{"be", "de"} {
		dir := pgtest.TempDir(t)
		starting.Go(func() {
			s := newCellServer(t, dir)
			mu.Lock()
			defer mu.Unlock()
			c.region[name] = s
		})
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	c.env = []string{unlimited, cheap, "KLUIS_REGIONS=" + c.regions("be", "de")}
	return c
}

// regions is KLUIS_REGIONS.
func (c *cells) regions(names ...string) string {
	var all []string
	for _, name := range names {
		s := c.region[name]
		all = append(all, fmt.Sprintf("%[1]s=%[2]s\n%[1]s.owner=%[3]s\n%[1]s.blobs=file://%[4]s", name, s.network.url(s.URL("kluis")), s.network.url(s.AdminURL("kluis")), s.blobs))
	}
	return strings.Join(all, "\n")
}

func newCellServer(t *testing.T, dir string) *cellServer {
	server, err := pgserver.Start(context.Background(), filepath.Join(dir, "postgres"), pgserver.Options{Settings: map[string]string{"fsync": "off"}, Unwatched: true})
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := server.CreateDatabase(context.Background(), "kluis"); err != nil {
		t.Error(err)
		return nil
	}
	u, err := url.Parse(server.URL("kluis"))
	if err != nil {
		t.Error(err)
		return nil
	}
	at := filepath.Join(u.Query().Get("host"), ".s.PGSQL."+cmp.Or(u.Query().Get("port"), "5432"))
	return &cellServer{Server: server, network: newNetwork(t, at), blobs: t.TempDir()}
}

// network passes on what goes to a server.
type network struct {
	server  string // its socket
	address string

	mu     sync.Mutex
	listen net.Listener // nil: cut off
	conns  []net.Conn
}

func newNetwork(t *testing.T, server string) *network {
	n := &network{server: server, address: toolbox.FreeAddress(t)}
	n.join(t)
	t.Cleanup(n.cut)
	return n
}

// url gives the URL of a server through the network.
func (n *network) url(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	u.Host, u.RawQuery = n.address, ""
	return u.String()
}

func (n *network) join(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.listen = l
	n.mu.Unlock()
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", n.server)
			if err != nil {
				from.Close()
				continue
			}
			n.mu.Lock()
			n.conns = append(n.conns, from, to)
			n.mu.Unlock()
			go func() { _, _ = io.Copy(to, from); to.Close() }()
			go func() { _, _ = io.Copy(from, to); from.Close() }()
		}
	}()
}

func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listen != nil {
		n.listen.Close()
	}
	for _, c := range n.conns {
		c.Close()
	}
	n.listen, n.conns = nil, nil
}

// admin connects to the database of a region as the superuser, without the network.
func (c *cells) admin(t *testing.T, region string) *pgx.Conn {
	t.Helper()
	in := c.region[region]
	if in.super != nil && in.super.Ping(t.Context()) == nil {
		return in.super
	}
	conn, err := pgx.Connect(t.Context(), in.SuperuserURL("kluis"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	in.super = conn
	return conn
}

// rowCount gives the number that a query returns.
func rowCount(t *testing.T, conn *pgx.Conn, sql string, args ...any) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func loginAs(slug string) string {
	return fmt.Sprintf(`{"workspace": %q, "email": "ann@%[1]s.example", "password": %q}`, slug, plain)
}

// readyz gives what a server says about its regions.
func (s *server) readyz(t *testing.T) (status int, regions map[string]string) {
	t.Helper()
	r, err := (&client{}).at(s).do("GET", "/readyz", "")
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Regions map[string]string }
	decode(t, r.body, &body)
	return r.status, body.Regions
}

// refusedAs wants a 503 that says when to ask again.
func (c *client) refusedAs(t *testing.T, code, method, path, body string) {
	t.Helper()
	r := c.want(t, http.StatusServiceUnavailable, method, path, body)
	var p struct{ Code string }
	if decode(t, r.body, &p); p.Code != code || r.header.Get("Retry-After") == "" {
		t.Errorf("%s %s: %s, and Retry-After %q; want %s", method, path, r.body, r.header.Get("Retry-After"), code)
	}
}

// All of a workspace is in the region of its sign-up; of the other cells only the home knows its id, slug and region. While the network of one region is cut
// off the others go on, also after a restart.
func TestCells(t *testing.T) {
	t.Parallel()
	c := newCells(t)
	s := c.serve(t)
	be, de := s.signUp(t, "brussels"), s.signUpIn(t, "berlin", "de")
	be.task(t, "waffles")
	de.task(t, "currywurst")
	inBE, inDE := c.admin(t, "be"), c.admin(t, "de")
	for _, admin := range []*client{be, de} {
		admin.want(t, http.StatusCreated, "POST", "/api/members", `{"email": "invited@example.org", "full_name": "Invited", "role": "member"}`)
	}

	t.Run("all of a workspace is in its region", func(t *testing.T) {
		for slug, conn := range map[string]*pgx.Conn{"brussels": inDE, "berlin": inBE} {
			if n := rowCount(t, conn, `select count(*)::int from kluis.workspace where slug = $1`, slug); n != 0 {
				t.Errorf("%s is in the directory of another region", slug)
			}
		}
		for name, conn := range map[string]*pgx.Conn{"be": inBE, "de": inDE} {
			if n := rowCount(t, conn, `select count(*)::int from pg_namespace where nspname ~ '^ws_[0-9a-f]{32}$'`); n != 1 {
				t.Errorf("%s has %d workspaces", name, n)
			}
			mails := 0
			until(t, "the mail to the person who was invited in "+name, func() bool {
				mails = rowCount(t, conn, `select count(*)::int from kluis_jobs.river_job`)
				return mails > 0
			})
			if mails != 1 {
				t.Errorf("%s has %d mails, and one person was invited there", name, mails)
			}
		}
		if n := rowCount(t, inBE, `select count(*)::int from kluis.place where settled`); n != 2 {
			t.Errorf("the home knows %d workspaces", n)
		}
		if n := rowCount(t, inDE, `select count(*)::int from kluis.place`) + rowCount(t, inDE, `select count(*)::int from kluis.counter where name like 'signup%'`); n != 0 {
			t.Error("sign-ups are counted outside of the home, or it is not alone to have the list")
		}
		dump := dumped(t, c.region["be"])
		if dump == "" || strings.Contains(dump, "currywurst") {
			t.Error("the home has something of the workspace in de")
		}
	})

	t.Run("a region that there is not", func(t *testing.T) {
		r := (&client{}).at(s).want(t, http.StatusUnprocessableEntity, "POST", "/api/signup",
			fmt.Sprintf(`{"workspace": {"slug": "paris", "name": "x"}, "email": "ann@paris.example", "full_name": "Ann", "password": %q, "region": "fr"}`, plain))
		if !strings.Contains(string(r.body), "must be one of be, de") {
			t.Errorf("%s", r.body)
		}
	})

	t.Run("a slug is taken in all regions", func(t *testing.T) {
		for _, region := range []string{"be", "de"} {
			for _, slug := range []string{"brussels", "berlin"} {
				(&client{}).at(s).want(t, http.StatusConflict, "POST", "/api/signup",
					fmt.Sprintf(`{"workspace": {"slug": %q, "name": "x"}, "email": "bob@other.example", "full_name": "Bob", "password": %q, "region": %q}`, slug, plain, region))
			}
		}
	})

	t.Run("log in by the slug", func(t *testing.T) {
		for _, slug := range []string{"brussels", "berlin", " BERLIN "} {
			(&client{}).at(s).want(t, http.StatusOK, "POST", "/api/login", strings.Replace(loginAs(strings.ToLower(strings.TrimSpace(slug))), `"workspace": "berlin"`, fmt.Sprintf(`"workspace": %q`, slug), 1))
		}
		(&client{}).at(s).want(t, http.StatusUnauthorized, "POST", "/api/login", loginAs("nowhere"))
	})

	t.Run("commands go through all regions", func(t *testing.T) {
		list := c.must(t, "workspace", "list")
		if !strings.Contains(list, "brussels") || !strings.Contains(list, "berlin") {
			t.Errorf("workspace list:\n%s", list)
		}
		if list := c.must(t, "workspace", "list", "--region=de"); strings.Contains(list, "brussels") || !strings.Contains(list, "berlin") {
			t.Errorf("workspace list --region=de:\n%s", list)
		}
		if show := c.must(t, "workspace", "show", "berlin"); !strings.Contains(show, "de") {
			t.Errorf("workspace show:\n%s", show)
		}
		if said := c.must(t, "verify"); strings.Count(said, "whole and in order") != 2 {
			t.Errorf("verify:\n%s", said)
		}
		if said := c.must(t, "replay", "berlin"); !strings.Contains(said, "currywurst") {
			t.Errorf("replay:\n%s", said)
		}
		if status, _, stderr := c.run("backup", filepath.Join(t.TempDir(), "backup")); status != misuse || !strings.Contains(stderr, "--region") {
			t.Errorf("backup of which region? %d, %s", status, stderr)
		}
	})

	t.Run("the other one goes on", func(t *testing.T) {
		for _, x := range []struct {
			dead        string
			there, gone *client
			log         string // of the one that is there
			lost        string
		}{{"de", be, de, "brussels", "berlin"}, {"be", de, be, "berlin", "brussels"}} {
			c.region[x.dead].network.cut()
			x.there.task(t, "still here")
			x.gone.refusedAs(t, "database_unavailable", "GET", "/api/tasks", "")
			(&client{}).at(s).want(t, http.StatusOK, "POST", "/api/login", loginAs(x.log))
			if r, err := (&client{}).at(s).do("POST", "/api/login", loginAs(x.lost)); err != nil || r.status != http.StatusServiceUnavailable {
				t.Errorf("log in to a region that is cut off: %d %s, %v", r.status, r.body, err)
			}
			if status, regions := s.readyz(t); status != http.StatusOK || regions[x.dead] != "database_unavailable" || len(regions) != 2 {
				t.Errorf("without %s: ready %d, %v", x.dead, status, regions)
			}
			if scrape := s.scrape(t); value(scrape, fmt.Sprintf(`kluis_up{region=%q}`, x.dead)) != 0 || strings.Count(scrape, "\nkluis_up{") != 2 || !strings.Contains(scrape, `} 1`) {
				t.Errorf("the metrics without %s:\n%s", x.dead, scrape)
			}
			c.region[x.dead].network.join(t)
			until(t, x.dead+" is back", func() bool {
				r, err := x.gone.do("GET", "/api/tasks", "")
				return err == nil && r.status == http.StatusOK
			})
		}
		if status, regions := s.readyz(t); status != http.StatusOK || regions["be"] != "ok" || regions["de"] != "ok" {
			t.Errorf("with both: ready %d, %v", status, regions)
		}
	})

	t.Run("a start without one", func(t *testing.T) {
		for _, x := range []struct {
			dead        string
			there, gone *client
			log, lost   string
		}{{"de", be, de, "brussels", "berlin"}, {"be", de, be, "berlin", "brussels"}} {
			c.region[x.dead].network.cut()
			s := c.serve(t)
			there, gone := x.there.at(s), x.gone.at(s)
			there.task(t, "here all the same")
			gone.refusedAs(t, "region_unavailable", "GET", "/api/tasks", "")
			gone.refusedAs(t, "region_unavailable", "POST", "/api/login", loginAs(x.lost))
			there.want(t, http.StatusOK, "POST", "/api/login", loginAs(x.log))
			gone.want(t, http.StatusOK, "POST", "/api/login", loginAs(x.log)) // a token that leads nowhere is in nobody's way
			(&client{}).at(s).refusedAs(t, "region_unavailable", "POST", "/api/signup",
				fmt.Sprintf(`{"workspace": {"slug": "other", "name": "x"}, "email": "bob@other.example", "full_name": "Bob", "password": %q, "region": %q}`, plain, x.dead))
			if _, regions := s.readyz(t); regions[x.dead] != "region_unavailable" {
				t.Errorf("regions %v", regions)
			}
			if !strings.Contains(s.log.String(), "a region cannot be reached") {
				t.Errorf("the log does not say that %s is away", x.dead)
			}
			c.region[x.dead].network.join(t)
			until(t, x.dead+" is there", func() bool {
				r, err := gone.do("GET", "/api/tasks", "")
				return err == nil && r.status == http.StatusOK
			})
			if status := s.stop(t); status != success {
				t.Errorf("it ended with %d", status)
			}
		}
	})

	t.Run("a region that vanished from the settings", func(t *testing.T) {
		alone := &home{data: c.data, env: []string{unlimited, cheap, "KLUIS_REGIONS=" + c.regions("be")}}
		s := alone.serve(t)
		if !strings.Contains(s.log.String(), "KLUIS_REGIONS does not name a region that has workspaces") {
			t.Errorf("the log does not say so:\n%s", s.log)
		}
		de.at(s).refusedAs(t, "region_unavailable", "GET", "/api/tasks", "")
		(&client{}).at(s).refusedAs(t, "region_unavailable", "POST", "/api/login", loginAs("berlin"))
		be.at(s).task(t, "as ever")
		(&client{}).at(s).want(t, http.StatusConflict, "POST", "/api/signup",
			fmt.Sprintf(`{"workspace": {"slug": "berlin", "name": "x"}, "email": "bob@other.example", "full_name": "Bob", "password": %q}`, plain))
	})

	t.Run("regions that were exchanged", func(t *testing.T) {
		swapped := strings.NewReplacer("be=", "de=", "be.", "de.", "de=", "be=", "de.", "be.").Replace(c.regions("be", "de"))
		status, _, stderr := (&home{data: c.data, env: []string{"KLUIS_REGIONS=" + swapped, "KLUIS_LISTEN=" + toolbox.FreeAddress(t)}}).run("serve")
		if status != failure || !strings.Contains(stderr, "change the name of no region") {
			t.Errorf("status %d, %s", status, stderr)
		}
	})
}

// dumped gives the text of all rows of a database.
func dumped(t *testing.T, s *cellServer) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.SuperuserURL("kluis"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `select table_to_xml(c.oid, true, false, '')::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'r' and (n.nspname like 'kluis%' or n.nspname ~ '^ws_')`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
