package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/toolbox"
)

// The first start in an empty folder makes keys and a Postgres, and writes mails as files. SIGTERM ends it with 0, with everything that it started. The
// second start goes on.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	h := privateHome(t)
	s := h.serve(t)
	info, err := os.Stat(filepath.Join(h.data, "keys"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the keys file: %v, %v", info, err)
	}
	ann := s.signUp(t, "acme")
	id := ann.task(t, "Paint the door")
	mails, err := filepath.Glob(filepath.Join(h.data, "mail", "*.eml"))
	if err != nil || len(mails) != 1 {
		t.Fatalf("mails: %v, %v", mails, err)
	}
	if info, err := os.Stat(mails[0]); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the mail: %v, %v", info, err)
	}
	if !strings.Contains(s.log.String(), mails[0]) {
		t.Errorf("the log does not say where the mail is:\n%s", s.log)
	}
	for _, secret := range []string{s.mailed(t, "ann@acme.example"), "ann@", "Ann Example", ann.token, plain, "Paint the door"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	for line := range strings.Lines(s.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is no JSON: %s", line)
		}
	}
	if out := h.must(t, "workspace", "list"); !strings.Contains(out, "acme") { // beside it, on the same Postgres
		t.Errorf("workspace list: %s", out)
	}
	if status := s.stop(t); status != success {
		t.Errorf("SIGTERM: status %d:\n%s", status, s.log)
	}
	if _, err := os.Stat(filepath.Join(h.data, "postgres", "cluster", "postmaster.pid")); err == nil {
		t.Error("Postgres runs still")
	}
	again := h.serve(t)
	if title := ann.at(again).want(t, http.StatusOK, "GET", "/api/tasks/"+id, "").body; !strings.Contains(string(title), "Paint the door") {
		t.Errorf("after the second start: %s", title)
	}
	if titles := h.titles(t, "acme"); titles["Paint the door"] != 1 {
		t.Errorf("%v", titles)
	}
	again.signal(syscall.SIGINT)
	<-again.ended
	if status := again.cmd.ProcessState.ExitCode(); status != success {
		t.Errorf("SIGINT: status %d", status)
	}
}

// Without the keys of its data kluis does not start, and changes nothing.
func TestKeysAreLost(t *testing.T) {
	t.Parallel()
	h := privateHome(t)
	h.must(t, "migrate") // makes the keys with the cluster
	s := h.serve(t)
	s.signUp(t, "acme")
	s.stop(t)
	file := filepath.Join(h.data, "keys")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		status, _, stderr := h.run("serve", "--listen", toolbox.FreeAddress(t))
		if status != failure || !strings.Contains(stderr, "kluis: KLUIS_KEYS: there is no file "+file) || !strings.Contains(stderr, "put the file back") {
			t.Errorf("without keys: status %d, %s", status, stderr)
		}
		if _, err := os.Stat(file); err == nil {
			t.Fatal("it made keys anew")
		}
	}
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	s = h.serve(t)
	(&client{}).at(s).want(t, http.StatusOK, "POST", "/api/login", fmt.Sprintf(`{"workspace": "acme", "email": "ann@acme.example", "password": %q}`, plain))
}

// holdHead stops all appends to a workspace until the transaction ends.
func (h *home) holdHead(t *testing.T, slug string) pgx.Tx {
	t.Helper()
	admin := h.superuser(t)
	tx, err := admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select * from `+schema(t, admin, slug)+`.head for update`); err != nil {
		t.Fatal(err)
	}
	return tx
}

// held waits until a request waits for the head of a log.
func (h *home) held(t *testing.T) {
	t.Helper()
	admin := h.superuser(t)
	until(t, "a request waits for the head", func() bool {
		return rowCount(t, admin, `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event in ('transactionid', 'tuple')`) > 0
	})
}

// follow begins to follow the log.
func (c *client) follow(t *testing.T, path string) *bufio.Reader {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	return bufio.NewReader(response.Body)
}

// After SIGTERM, requests that are under way finish, streams end, no new request is accepted, and the exit status is 0.
func TestSigterm(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	tx := h.holdHead(t, "acme")
	slow, streamed := make(chan reply, 1), make(chan error, 1)
	go func() {
		r, err := ann.at(s).do("POST", "/api/tasks", `{"title": "in flight"}`)
		if err != nil {
			t.Errorf("in flight: %v", err)
		}
		slow <- r
	}()
	follower := ann.follow(t, "/api/audit/replay?follow=true")
	if _, err := follower.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.Copy(io.Discard, follower)
		streamed <- err
	}()
	h.held(t)
	s.signal(syscall.SIGTERM)
	select {
	case err := <-streamed:
		if err != nil {
			t.Errorf("a follower: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("a follower is kept after SIGTERM")
	}
	until(t, "no new connection is taken", func() bool {
		_, err := (&client{}).at(s).do("GET", "/healthz", "")
		return err != nil
	})
	select {
	case <-s.ended:
		t.Fatalf("it did not wait for what is in flight:\n%s", s.log)
	case <-time.After(time.Second):
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-slow; r.status != http.StatusCreated {
		t.Errorf("in flight: %d %s", r.status, r.body)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if status := s.cmd.ProcessState.ExitCode(); status != success {
		t.Errorf("status %d:\n%s", status, s.log)
	}
	if h.titles(t, "acme")["in flight"] != 1 {
		t.Error("what was in flight is not in the log")
	}
}

// A second signal does not wait for requests that are under way.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	tx := h.holdHead(t, "acme")
	cut := make(chan error, 1)
	go func() {
		_, err := ann.at(s).do("POST", "/api/tasks", `{"title": "in flight"}`)
		cut <- err
	}()
	h.held(t)
	s.signal(syscall.SIGINT)
	until(t, "it has begun to stop", func() bool {
		_, err := (&client{}).at(s).do("GET", "/healthz", "")
		return err != nil
	})
	s.signal(syscall.SIGINT)
	select {
	case <-s.ended:
	case <-time.After(15 * time.Second): // less than the 20 s that requests have
		t.Fatal("it still waits")
	}
	if err := <-cut; err == nil {
		t.Error("what was held up was answered")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// No signal leaves a Postgres running, whichever it is and whenever it comes, also a second one during a start, while serving, or at the end. One signal, even
// of a terminal that is closed, ends the program well.
func TestSignalsLeaveNoPostgres(t *testing.T) {
	t.Parallel()
	h := privateHome(t)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signal(syscall.SIGHUP)
	<-s.ended
	if status := s.cmd.ProcessState.ExitCode(); status != success {
		t.Errorf("SIGHUP: status %d:\n%s", status, s.log)
	}
	for _, ms := range []int{0, 30, 80, 150, 300, 1000} {
		for _, second := range []time.Duration{-1, 0, 50 * time.Millisecond} {
			s := h.start(t)
			time.Sleep(time.Duration(ms) * time.Millisecond)
			if second >= 0 {
				s.signal(syscall.SIGTERM)
				time.Sleep(second)
			}
			status := s.stop(t)
			if second < 0 && status != success && status != -1 { // -1: before the program had begun to listen to signals
				t.Errorf("SIGTERM %d ms after the start: status %d:\n%s", ms, status, s.log)
			}
			h.noPostgres(t, fmt.Sprintf("%d ms after the start, a second signal %s later", ms, second))
		}
	}
	s = h.serve(t)
	tx := h.holdHead(t, "acme")
	cut := make(chan error, 1)
	go func() {
		_, err := ann.at(s).do("POST", "/api/tasks", `{"title": "in flight"}`)
		cut <- err
	}()
	h.held(t)
	s.signal(syscall.SIGINT)
	time.Sleep(100 * time.Millisecond) // whenever the second one comes
	s.stop(t)
	h.noPostgres(t, "while a request is in flight")
	if err := <-cut; err == nil {
		t.Log("the request in flight was answered")
	}
	_ = tx.Rollback(t.Context()) // the server is gone
	if titles := h.serve(t).titles(t, "acme"); titles["in flight"] > 1 {
		t.Errorf("%v", titles)
	}
}

// noPostgres checks that no process of the private Postgres lives: all of them would hold a lock on one file.
func (h *home) noPostgres(t *testing.T, when string) {
	t.Helper()
	alive, err := os.Open(filepath.Join(h.data, "postgres", "alive"))
	if errors.Is(err, fs.ErrNotExist) { // none was ever started
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	if err := syscall.Flock(int(alive.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Errorf("%s: Postgres runs still: %v", when, err)
	}
}

// Two processes serve one database, and a change through one is seen at the other at once. They may start at the same moment, on an empty database.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	a, b := h.start(t), h.start(t)
	a.ready(t)
	b.ready(t)
	atA := a.signUp(t, "acme")
	atB := atA.at(b)
	for i := range 40 {
		one, other := atA, atB
		if i%2 == 1 {
			one, other = atB, atA
		}
		title := fmt.Sprint("task ", i)
		id := one.task(t, title)
		if r := other.want(t, http.StatusOK, "GET", "/api/tasks/"+id, ""); !strings.Contains(string(r.body), title) || r.header.Get("Kluis-Behind") != "" {
			t.Errorf("%s: %v", r.body, r.header)
		}
		if r := other.want(t, http.StatusOK, "GET", "/api/tasks?limit=1", ""); !strings.Contains(string(r.body), id) {
			t.Errorf("not in the list: %s", r.body)
		}
	}
	var writers sync.WaitGroup
	for i := range 8 { // both write one workspace at once
		c := []*client{atA, atB}[i%2]
		writers.Go(func() {
			for j := range 20 {
				if r, err := c.do("POST", "/api/tasks", fmt.Sprintf(`{"title": "both %d %d"}`, i, j)); err != nil || r.status != http.StatusCreated {
					t.Errorf("%d %s %v", r.status, r.body, err)
				}
			}
		})
	}
	writers.Wait()
	if titles := h.titles(t, "acme"); len(titles) != 40+160 {
		t.Errorf("%d titles", len(titles))
	}
	if status := a.stop(t); status != success {
		t.Errorf("status %d", status)
	}
	atB.task(t, "alone")
}

// A follower of a log at one server soon gets the changes of another, each record once and in order.
func TestFollowAcrossServers(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	a := h.serve(t)
	b := h.serve(t)
	atA := a.signUp(t, "acme")
	follower := atA.follow(t, "/api/audit/replay?follow=true&from=3")
	lines := make(chan record, 100)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(follower)
		for scanner.Scan() {
			var r record
			if err := json.Unmarshal(scanner.Bytes(), &r); err != nil {
				t.Error(err)
			}
			if r.Stream != "security" { // that the log is read is in the log
				lines <- r
			}
		}
	}()
	atB := atA.at(b)
	var took []time.Duration
	var last int64
	for i := range 20 {
		time.Sleep(time.Duration(i%4) * 50 * time.Millisecond)
		begun := time.Now()
		atB.task(t, fmt.Sprint(i))
		select {
		case r, open := <-lines:
			if !open || r.Position <= last || r.Data.Title != fmt.Sprint(i) {
				t.Fatalf("record %d: %+v", i, r)
			}
			last = r.Position
		case <-time.After(patience):
			t.Fatalf("record %d does not come", i)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("from request to record: %s", took)
	if took[len(took)/2] > 5*time.Second {
		t.Error("most of them were not told, they were found")
	}
}

// The queries of an idle process do not grow with the number of workspaces.
func TestIdle(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	h := sharedHome(t, url)
	h.must(t, "migrate")
	provisionMany(t, url, 10)
	s := h.serve(t)
	few := idleTransactions(t, h, 0)
	provisionMany(t, url, 50)
	most := few + few/2 + 6
	many := idleTransactions(t, h, most)
	t.Logf("in %s: %d transactions with 10 workspaces, %d with 60", idleWindow, few, many)
	if many > most || few > 60 {
		t.Errorf("in %s an idle process makes %d transactions with 10 workspaces, %d with 60", idleWindow, few, many)
	}
	s.stop(t)
}

const idleWindow = 4 * time.Second

// idleTransactions gives the smallest count of some windows, and of some more while that is above most. Every window has the steady work. Only the first has the work
// of a start, autovacuum visits new tables for a while, and Postgres counts the work of a connection at its next use.
func idleTransactions(t *testing.T, h *home, most int64) int64 {
	t.Helper()
	least := transactionsIn(t, h, idleWindow)
	for n := 1; n < 4 || most > 0 && least > most && n < 20; n++ {
		least = min(least, transactionsIn(t, h, idleWindow))
	}
	return least
}

// A server ends when the self-test, which goes on beside serving, finds that isolation does not hold, and does not start where a schema is open.
func TestServesOnlyInIsolation(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	s.signUp(t, "acme")
	admin := h.superuser(t)
	acme := schema(t, admin, "acme")
	exec := func(sql string) {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`grant select on ` + acme + `.task to public`)
	s.stop(t)
	for _, opened := range []bool{false, true} {
		s = h.start(t)
		select {
		case <-s.ended:
		case <-time.After(patience):
			t.Fatalf("it goes on, with a table of everybody's:\n%s", s.log)
		}
		if status := s.cmd.ProcessState.ExitCode(); status != failure || !strings.Contains(s.log.String(), "isolation does not hold: everybody has ") {
			t.Errorf("status %d:\n%s", status, s.log)
		}
		if served := strings.Contains(s.log.String(), `"msg":"serving"`); served == opened {
			t.Errorf("with the schema open %t, it served %t", opened, served)
		}
		exec(`grant usage on schema ` + acme + ` to public`)
	}
}
