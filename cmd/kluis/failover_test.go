package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// servers are a primary and its standby, from the packages of a distribution.
type servers struct {
	primary, standby *pgserver.Server
	folder           string // of the primary
}

// newServers makes a primary with a database for Kluis, and a standby that follows it. While synchronous, each commit is answered
// when the standby has it.
func newServers(t *testing.T, synchronous bool) *servers {
	t.Helper()
	dir := pgtest.TempDir(t)
	p := newPrimary(t, filepath.Join(dir, "a"))
	there := filepath.Join(dir, "b")
	p.copyTo(t, there, "--write-recovery-conf")
	p.standby = startServer(t, there)
	if synchronous {
		query(t, p.primary, `alter system set synchronous_standby_names = '*'`)
		query(t, p.primary, `select pg_reload_conf()`)
	}
	want := map[bool]string{true: "sync", false: "async"}[synchronous]
	until(t, "the standby follows", func() bool {
		return query(t, p.primary, `select coalesce(max(sync_state), '') from pg_stat_replication where state = 'streaming'`) == want
	})
	return p
}

// newPrimary makes a primary that may be copied, with a database for Kluis.
func newPrimary(t *testing.T, folder string, settings ...string) *servers {
	t.Helper()
	p := &servers{folder: folder, primary: startServer(t, folder, settings...)}
	if err := p.primary.CreateDatabase(t.Context(), "kluis"); err != nil {
		t.Fatal(err)
	}
	p.allowReplication(t)
	return p
}

// startServer starts the Postgres of a folder, with settings besides its own: names and values.
func startServer(t *testing.T, folder string, settings ...string) *pgserver.Server {
	t.Helper()
	options := pgserver.Options{Unwatched: true, Settings: map[string]string{"shared_buffers": "32MB", "fsync": "off"}}
	for setting := range slices.Chunk(settings, 2) {
		options.Settings[setting[0]] = setting[1]
	}
	s, err := pgserver.Start(t.Context(), folder, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// allowReplication lets a standby in, which a private Postgres never has.
func (p *servers) allowReplication(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(p.folder, "cluster", "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("local replication all scram-sha-256\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	query(t, p.primary, `select pg_reload_conf()`)
}

// copyTo makes a base backup of the primary, in a folder for another server.
func (p *servers) copyTo(t *testing.T, folder string, flags ...string) {
	t.Helper()
	program, err := pgserver.Client(t.Context(), "pg_basebackup", 15)
	if err != nil {
		t.Skip(err)
	}
	passwords, err := os.ReadFile(filepath.Join(p.folder, "passwords"))
	if err == nil {
		err = os.MkdirAll(folder, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "passwords"), passwords, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, append(flags, "--pgdata="+filepath.Join(folder, "cluster"), "--checkpoint=fast",
		"--dbname="+p.primary.SuperuserURL("postgres"))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// query asks a server as its superuser for one value, or nothing.
func query(t *testing.T, s *pgserver.Server, sql string) (value string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.SuperuserURL("kluis"))
	if err != nil {
		conn, err = pgx.Connect(t.Context(), s.SuperuserURL("postgres"))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		value = fmt.Sprint(values...)
	}
	if rows.Err() != nil {
		t.Fatalf("%s: %v", sql, rows.Err())
	}
	return value
}

// kill is kill -9 of the primary.
func (p *servers) kill(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.folder, "cluster", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// fence has the primary live on, and take no changes.
func (p *servers) fence(t *testing.T) {
	t.Helper()
	query(t, p.primary, `alter system set default_transaction_read_only = on`)
	query(t, p.primary, `select pg_reload_conf()`)
}

// cutOff ends the replication to the standby, once it has everything.
func (p *servers) cutOff(t *testing.T) {
	t.Helper()
	until(t, "the standby has all", func() bool {
		return query(t, p.primary, `select bool_and(replay_lsn = pg_current_wal_lsn()) from pg_stat_replication`) == "true"
	})
	query(t, p.standby, `alter system set primary_conninfo = ''`)
	query(t, p.standby, `select pg_reload_conf()`)
	until(t, "the standby is cut off", func() bool { return query(t, p.primary, `select count(*) from pg_stat_replication`) == "0" })
}

func (p *servers) promote(t *testing.T) {
	t.Helper()
	if promoted := query(t, p.standby, `select pg_promote()`); promoted != "true" {
		t.Fatalf("pg_promote: %s", promoted)
	}
}

// home has both servers in its URLs.
func (p *servers) home(t *testing.T) *home {
	t.Helper()
	both := func(a, b string) string {
		u, v := parsed(t, a), parsed(t, b)
		u.RawQuery = url.Values{"host": {u.Query().Get("host") + "," + v.Query().Get("host")}, "port": {u.Query().Get("port") + "," + v.Query().Get("port")},
			"target_session_attrs": {"read-write"}}.Encode()
		return u.String()
	}
	h := keysAlone(t)
	h.super = p.standby.SuperuserURL("kluis")
	h.env = []string{unlimited, cheap, "KLUIS_KEYS=" + filepath.Join(h.data, "keys"), "KLUIS_DATABASE_URL=" + both(p.primary.URL("kluis"), p.standby.URL("kluis")),
		"KLUIS_OWNER_URL=" + both(p.primary.AdminURL("kluis"), p.standby.AdminURL("kluis"))}
	return h
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A primary fails over to its synchronous standby while 16 clients write. Kluis goes on by itself, and nothing acknowledged is lost. The old primary is dead,
// or lives on and refuses changes; then no connection stays with it.
func TestFailover(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*servers, *testing.T){"the primary is killed": (*servers).kill, "the primary is fenced": (*servers).fence} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newServers(t, true)
			h := p.home(t)
			s := h.serve(t)
			ann := s.signUp(t, "acme")
			l := press(ann, s, 16, "failover")
			until(t, "the load runs", func() bool { return l.acknowledged() > 100 })
			end(p, t)
			p.promote(t)
			promoted, before := time.Now(), l.acknowledged()
			until(t, "commands are acknowledged again", func() bool { return l.acknowledged() > before+50 })
			t.Logf("acknowledging again %s after the promotion", time.Since(promoted).Round(time.Millisecond))
			l.end()
			s.ready(t)
			l.check(t, h.titles(t, "acme"))
			for answer := range l.seen {
				if !strings.HasPrefix(answer, "503 ") {
					t.Errorf("%d answers were %s", l.seen[answer], answer)
				}
			}
			if out := h.must(t, "rebuild", "--check", "acme"); !strings.Contains(out, "every read model follows from the log") {
				t.Error(out)
			}
			s.signUp(t, "other") // mails and roles, by the second login, go on as well
			if name == "the primary is fenced" {
				until(t, "no connection is left with the old primary, also of those that only listen", func() bool {
					return query(t, p.primary, `select count(*) from pg_stat_activity where usename like 'kluis%'`) == "0"
				})
			}
		})
	}
}

// An asynchronous standby that lacks the last commits becomes the primary. The next command, of any kind, notices, and another epoch of the log begins.
// Followers of the log are told, and later appends continue the present log.
func TestFailoverThatLosesTheEnd(t *testing.T) {
	t.Parallel()
	p := newServers(t, false)
	h := p.home(t)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	kept := ann.task(t, "kept")
	p.cutOff(t)
	lost := ann.task(t, "lost")
	followed := follow(t, ann)
	until(t, "the follower has what will be lost", func() bool { return strings.Contains(followed.text(), `"title":"lost"`) })
	p.kill(t)
	p.promote(t)
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+kept, "")
	ann.want(t, http.StatusNotFound, "GET", "/api/tasks/"+lost, "")
	again := ann.task(t, "again")
	until(t, "the follower's answer ends", followed.over)
	if strings.Contains(followed.text(), `"title":"again"`) {
		t.Errorf("the follower was shown what followed something else: %s", followed.text())
	}
	if r := ann.want(t, http.StatusConflict, "GET", "/api/audit/replay?epoch=1&from=4", ""); !strings.Contains(string(r.body), "log_restored") {
		t.Errorf("%s", r.body)
	}
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+again, "")
	ann.want(t, http.StatusOK, "GET", "/api/audit/checkpoint", "")
	if titles := h.titles(t, "acme"); titles["kept"] != 1 || titles["again"] != 1 || titles["lost"] != 0 {
		t.Errorf("%v", titles)
	}
	if replayed := h.must(t, "replay", "acme"); strings.Count(replayed, `"type":"workspace.restored"`) != 1 {
		t.Errorf("not one epoch has begun:\n%s", replayed)
	}
	if !strings.Contains(s.log.String(), "the log of a workspace went back") {
		t.Error("the log of the server does not say so")
	}
}

// An asynchronous standby that becomes the primary lacks the fence of a move, and an erasure. Servers that go on serve the workspace from its
// new region, and never from the old one, even a server that knew it there; an erased member stays erased.
func TestFailoverThatLosesAMove(t *testing.T) {
	t.Parallel()
	p, de := newServers(t, false), newCellServer(t, pgtest.TempDir(t))
	h := p.home(t)
	h.env = append(h.env, fmt.Sprintf("KLUIS_REGIONS=be=\nde=%s\nde.owner=%s\nde.blobs=file://%s", de.network.url(de.URL("kluis")), de.network.url(de.AdminURL("kluis")), de.blobs))
	s := h.serve(t)
	ann, eve := s.signUp(t, "brussels"), s.signUp(t, "stays")
	var cas struct{ ID string }
	decode(t, eve.want(t, http.StatusCreated, "POST", "/api/members", `{"email": "cas@example.org", "full_name": "Cas", "role": "member"}`).body, &cas)
	other := h.serve(t)
	ann.at(other).want(t, http.StatusOK, "GET", "/api/tasks", "")
	p.cutOff(t)
	h.must(t, "workspace", "move", "brussels", "de")
	var behind struct{ ID string }
	decode(t, ann.answers(t, "POST", "/api/tasks", `{"title": "behind the move"}`), &behind)
	eve.want(t, http.StatusOK, "POST", "/api/members/"+cas.ID+"/erase", "")
	p.kill(t)
	p.promote(t)
	for _, c := range []*client{ann.at(other), ann.at(s)} {
		until(t, "the workspace is served again", func() bool {
			r, err := c.do("GET", "/api/tasks/"+behind.ID, "")
			if err == nil && r.status != http.StatusOK && r.status != http.StatusServiceUnavailable {
				t.Fatalf("it was served from where it had been: %d %s", r.status, r.body)
			}
			return err == nil && r.status == http.StatusOK
		})
	}
	s.logsIn(t, "brussels", "de")
	other.logsIn(t, "brussels", "de")
	if members := string(eve.answers(t, "GET", "/api/members", "")); strings.Contains(members, "cas@example.org") {
		t.Errorf("who was erased is back: %s", members)
	}
}

// While the synchronous standby is away nothing is acknowledged, not even when the operator cancels a waiting commit, and has the login told nothing but
// errors. When it is back, waiting changes are acknowledged.
func TestCancelledWaitForTheStandby(t *testing.T) {
	t.Parallel()
	p := newServers(t, true)
	h := p.home(t)
	h.super = p.primary.SuperuserURL("kluis")
	query(t, p.primary, `alter role kluis set client_min_messages = error`)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	primary := query(t, p.standby, `show primary_conninfo`)
	p.cutOff(t)
	answered := make(chan reply, 1)
	go func() {
		r, _ := ann.do("POST", "/api/tasks", `{"title": "waits"}`)
		answered <- r
	}()
	for range 5 {
		until(t, "a commit waits and is cancelled", func() bool {
			return query(t, p.primary, `select count(*) from (select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and usename = 'kluis') cancelled`) != "0"
		})
	}
	select {
	case r := <-answered:
		if r.status == http.StatusCreated {
			t.Error("it was acknowledged, and the primary alone has it")
		}
		answered <- r
	default:
	}
	query(t, p.standby, `alter system set primary_conninfo = '`+strings.ReplaceAll(primary, "'", "''")+`'`)
	query(t, p.standby, `select pg_reload_conf()`)
	if r := <-answered; r.status != http.StatusCreated && r.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", r.status, r.body)
	}
	until(t, "all goes on", func() bool {
		r, err := ann.do("POST", "/api/tasks", `{"title": "later"}`)
		return err == nil && r.status == http.StatusCreated
	})
	if titles := h.titles(t, "acme"); titles["waits"] != 1 {
		t.Errorf("the task that waited is %d times in the log", titles["waits"])
	}
}

// followed is a replay that goes on.
type followed struct {
	safeBuffer
	ended chan struct{}
}

func (f *followed) text() string { return f.String() }

func (f *followed) over() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

func follow(t *testing.T, c *client) *followed {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+"/api/audit/replay?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(request) //nolint:bodyclose // the goroutine closes it
	if err != nil {
		t.Fatal(err)
	}
	f := &followed{ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		defer response.Body.Close()
		_, _ = io.Copy(f, response.Body) // it ends with the answer, or the test
	}()
	return f
}
