package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load has clients that create tasks, one after the other, and note the acknowledged ones.
type load struct {
	stop    chan struct{}
	clients sync.WaitGroup

	mu    sync.Mutex
	acked []string
	seen  map[string]int // other answers, and errors, and how often
	sent  atomic.Int64
}

// press starts n clients. Each task has a title of its own, even when its answer was lost.
func press(c *client, s *server, n int, name string) *load {
	l := &load{stop: make(chan struct{}), seen: map[string]int{}}
	for i := range n {
		own := c.at(s)
		l.clients.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-l.stop:
					return
				default:
				}
				title := fmt.Sprintf("%s %d %d", name, i, j)
				l.sent.Add(1)
				r, err := own.do("POST", "/api/tasks", fmt.Sprintf(`{"title": %q}`, title))
				l.note(title, r, err)
				if err != nil || r.status != http.StatusCreated {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	return l
}

func (l *load) note(title string, r reply, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && r.status == http.StatusCreated:
		l.acked = append(l.acked, title)
	case err == nil:
		var problem struct{ Code string }
		_ = json.Unmarshal(r.body, &problem) // without a code it is none of ours
		l.seen[fmt.Sprint(r.status, " ", problem.Code)]++
	default:
		l.seen["no answer"]++
	}
}

func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *load) end() {
	close(l.stop)
	l.clients.Wait()
}

// check finds every acknowledged task once in the log, and every other task at most once.
func (l *load) check(t *testing.T, titles map[string]int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, twice := 0, 0
	for _, title := range l.acked {
		if titles[title] == 0 {
			lost++
		}
	}
	for _, n := range titles {
		if n > 1 {
			twice++
		}
	}
	if lost > 0 || twice > 0 {
		t.Errorf("of %d acknowledged commands %d are not in the log; %d titles are there more than once", len(l.acked), lost, twice)
	}
	t.Logf("%d sent, %d acknowledged, %v", l.sent.Load(), len(l.acked), l.seen)
}

// kill -9 of kluis under the load of 16 clients: the next start finds the Postgres that was left running, and every
// acknowledged command is in the log, once.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	h := privateHome(t)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	for round := range 3 {
		l := press(ann, s, 16, fmt.Sprint("round ", round))
		until(t, "the load runs", func() bool { return l.acknowledged() > 200 })
		time.Sleep(time.Duration(round) * 37 * time.Millisecond)
		s.kill()
		l.end()
		s = h.serve(t)
		titles := h.titles(t, "acme")
		l.check(t, titles)
		r := ann.at(s).want(t, http.StatusOK, "GET", "/api/tasks?limit=1", "")
		if r.header.Get("Kluis-Behind") != "" || int(r.position(t)) != len(titles)+2 {
			t.Errorf("the list is at %s with %d tasks in the log: %v", r.header.Get("Kluis-Position"), len(titles), r.header)
		}
	}
	if out := h.must(t, "rebuild", "--check", "acme"); !strings.Contains(out, "every read model follows from the log") {
		t.Error(out)
	}
	if status := s.stop(t); status != success {
		t.Errorf("SIGTERM afterwards: status %d", status)
	}
}

// kill -9 of the private Postgres under load: kluis starts it again and goes on, and nothing acknowledged is lost.
func TestPostgresKilledUnderLoad(t *testing.T) {
	t.Parallel()
	h := privateHome(t)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	l := press(ann, s, 16, "postgres")
	for range 2 {
		before := l.acknowledged()
		until(t, "the load runs", func() bool { return l.acknowledged() > before+200 })
		pid, err := strconv.Atoi(h.postmaster(t)[0])
		if err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		after := l.acknowledged()
		until(t, "commands are acknowledged again", func() bool { return l.acknowledged() > after+50 })
		t.Logf("acknowledging again %s after the kill", time.Since(killed).Round(time.Millisecond))
		select {
		case <-s.ended:
			t.Fatalf("kluis has ended:\n%s", s.log)
		default:
		}
	}
	l.end()
	s.ready(t)
	l.check(t, h.titles(t, "acme"))
	for answer := range l.seen {
		if !strings.HasPrefix(answer, "503 ") {
			t.Logf("while Postgres was away there were answers other than 503: %s, %d times", answer, l.seen[answer])
		}
	}
	if out := h.must(t, "rebuild", "--check", "acme"); !strings.Contains(out, "every read model follows from the log") {
		t.Error(out)
	}
	if status := s.stop(t); status != success {
		t.Errorf("SIGTERM afterwards: status %d", status)
	}
}
