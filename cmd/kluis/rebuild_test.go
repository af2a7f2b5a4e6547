package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// During `kluis rebuild` beside a server no read fails, and no client sees positions go back. Afterwards every read model follows from the log.
func TestRebuildWhileServing(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	fillLog(t, h, "acme", 1000)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var reads, writes atomic.Int64
	for range 3 {
		c := ann.at(s)
		clients.Go(func() {
			for last := int64(0); ; reads.Add(1) {
				select {
				case <-stop:
					return
				default:
				}
				r, err := c.do("GET", "/api/tasks?limit=5", "")
				if err != nil || r.status != http.StatusOK {
					t.Errorf("a read fails: %d %s %v", r.status, r.body, err)
					return
				}
				position := r.position(t)
				if behind := r.header.Get("Kluis-Behind"); position < last || behind != "" {
					t.Errorf("position %d after %d, Kluis-Behind %q", position, last, behind)
				}
				last = position
			}
		})
	}
	for i := range 2 {
		c := ann.at(s)
		clients.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				r, err := c.do("POST", "/api/tasks", fmt.Sprintf(`{"title": "%d %d"}`, i, j))
				if err != nil || r.status != http.StatusCreated {
					t.Errorf("a write fails: %d %s %v", r.status, r.body, err)
					return
				}
				var task struct{ ID string }
				decode(t, r.body, &task)
				if r, err := c.do("GET", "/api/tasks/"+task.ID, ""); err != nil || r.status != http.StatusOK {
					t.Errorf("what was just written is not there: %d %s %v", r.status, r.body, err)
				}
				writes.Add(1)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	for range 3 {
		if out := h.must(t, "rebuild", "acme"); !strings.Contains(out, "acme: rebuilt from ") {
			t.Errorf("rebuild: %s", out)
		}
	}
	if out := h.must(t, "rebuild", "--check"); !strings.Contains(out, "1 workspaces: every read model follows from the log") {
		t.Errorf("check: %s", out)
	}
	close(stop)
	clients.Wait()
	t.Logf("%d reads, %d writes", reads.Load(), writes.Load())
	h.titles(t, "acme")
}

// After a change of a row the check ends with 1 and names the table, and a rebuild mends the row.
func TestRebuildMends(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "beta")
	id := ann.task(t, "Paint the door")
	admin := h.superuser(t)
	acme := schema(t, admin, "acme")
	for table, sql := range map[string]string{
		"task":      `update ` + acme + `.task set title = 'Forged'`,
		"member":    `update ` + acme + `.member set role = 'viewer'`,
		"workspace": `delete from ` + acme + `.workspace`,
	} {
		ann.want(t, http.StatusOK, "GET", "/api/tasks/"+id, "")
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"rebuild", "--check"}, {"rebuild", "--check", "acme"}} {
			status, stdout, stderr := h.run(args...)
			if status != failure || !strings.Contains(stdout, "acme: ") || !strings.Contains(stdout, " rows of "+table+" differ") || strings.Contains(stdout, "beta") || !strings.Contains(stderr, "kluis rebuild") {
				t.Errorf("%s tampered with: %v: status %d, %q, %q", table, args, status, stdout, stderr)
			}
		}
		if status, _, _ := h.run("rebuild", "--check", "beta"); status != success {
			t.Errorf("the other workspace: status %d", status)
		}
		h.must(t, "rebuild", "acme")
		h.must(t, "rebuild", "--check")
	}
	if r := ann.want(t, http.StatusOK, "GET", "/api/tasks/"+id, ""); !strings.Contains(string(r.body), "Paint the door") {
		t.Errorf("%s", r.body)
	}
}

// kill -9 of a rebuild leaves the read models as they were. The next one begins anew, and leaves nothing over.
func TestRebuildIsKilled(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	fillLog(t, h, "acme", 8000)
	until(t, "the read models have all of it", func() bool {
		return ann.want(t, http.StatusOK, "GET", "/api/tasks?limit=1", "").header.Get("Kluis-Behind") == ""
	})
	admin := h.superuser(t)
	shadow := schema(t, admin, "acme") + "_shadow"
	killed := 0
	for round := range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := h.command(ctx, "rebuild", "acme")
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(100+150*round) * time.Millisecond)
		cancel() // kill -9
		if cmd.Wait() != nil {
			killed++
		}
		if r := ann.want(t, http.StatusOK, "GET", "/api/tasks?limit=1", ""); r.position(t) != 24002 || r.header.Get("Kluis-Behind") != "" {
			t.Errorf("round %d: %v", round, r.header)
		}
	}
	t.Logf("%d of 6 were killed in time", killed)
	until(t, "the killed one's connections are gone", func() bool {
		status, stdout, stderr := h.run("rebuild", "acme")
		if status != success && !strings.Contains(stderr, "already") {
			t.Fatalf("again: status %d, %s%s", status, stdout, stderr)
		}
		return status == success
	})
	h.must(t, "rebuild", "--check")
	var left bool
	if err := admin.QueryRow(t.Context(), `select exists (select from pg_namespace where nspname = $1)`, shadow).Scan(&left); err != nil || left {
		t.Errorf("the shadow schema is left: %v, %v", left, err)
	}
}
