package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// pair works through two servers at once: it reads at one what the other has accepted.
type pair struct {
	stop    chan struct{}
	workers sync.WaitGroup

	mu    sync.Mutex
	acked []string
	seen  map[string]int // answers, and how often
	wrong []string       // those that no client may get
}

// work has two workers in each direction create, change and read tasks.
func work(who *client, name string, servers ...*server) *pair {
	p := &pair{stop: make(chan struct{}), seen: map[string]int{}}
	for i := range 4 {
		a, b := who.at(servers[i%len(servers)]), who.at(servers[(i+1)%len(servers)])
		p.workers.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-p.stop:
					return
				default:
				}
				p.once(a, b, fmt.Sprintf("%s %d %d", name, i, j))
			}
		})
	}
	return p
}

// once makes a task at a, reads it at b, changes it at b, and reads it at a.
func (p *pair) once(a, b *client, title string) {
	made, ok := p.do(a, http.StatusCreated, "POST", "/api/tasks", title)
	if !ok {
		return
	}
	p.mu.Lock()
	p.acked = append(p.acked, title)
	p.mu.Unlock()
	var task struct{ ID string }
	_ = json.Unmarshal(made.body, &task) // it was acknowledged
	path := "/api/tasks/" + task.ID
	p.read(b, path, title)
	if _, ok := p.do(b, http.StatusOK, "PATCH", path, title+" again"); ok {
		p.read(a, path, title+" again")
	}
}

// do sends a request that succeeds, or that may be sent again later.
func (p *pair) do(c *client, want int, method, path, title string) (reply, bool) {
	body := ""
	if title != "" {
		body = fmt.Sprintf(`{"title": %q}`, title)
	}
	r, err := c.do(method, path, body)
	said := problemCode(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[fmt.Sprint(method, " ", r.status, " ", said)]++
	later := r.status == http.StatusServiceUnavailable && r.header.Get("Retry-After") != "" && said != ""
	if err != nil || r.status != want && !later {
		p.wrong = append(p.wrong, fmt.Sprintf("%s %s: %d %s %v", method, path, r.status, r.body, err))
	}
	return r, err == nil && r.status == want
}

// read reads a task as either version folds it, and never as a mixture.
func (p *pair) read(c *client, path, title string) {
	r, ok := p.do(c, http.StatusOK, "GET", path, "")
	if !ok || r.header.Get("Kluis-Behind") != "" {
		return
	}
	var task struct{ Title string }
	_ = json.Unmarshal(r.body, &task) // an empty one is wrong
	if task.Title != title && task.Title != title+"!" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wrong = append(p.wrong, fmt.Sprintf("%s is %q, want %q or %q", path, task.Title, title, title+"!"))
	}
}

func problemCode(r reply) string {
	var problem struct{ Code string }
	_ = json.Unmarshal(r.body, &problem) // it may be no problem
	return problem.Code
}

// end lets all workers finish, and reports the faults.
func (p *pair) end(t *testing.T) {
	t.Helper()
	close(p.stop)
	p.workers.Wait()
	t.Logf("%d acknowledged, %v", len(p.acked), p.seen)
	for i, w := range p.wrong {
		if i < 10 {
			t.Error(w)
		}
	}
	if len(p.acked) == 0 || p.seen["GET 200 "] == 0 {
		t.Error("nothing was done, or nothing read")
	}
}

func (p *pair) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

// logged finds everything acknowledged in the log, once.
func (p *pair) logged(t *testing.T, titles map[string]int) {
	t.Helper()
	for _, title := range p.acked {
		if titles[title] != 1 {
			t.Errorf("%q is in the log %d times", title, titles[title])
		}
	}
}

// In a deploy an older version serves, and the next one starts beside it under load, migrates and rebuilds. The older one stays ready, and neither shows
// anything wrong. In a roll-back the next one ends, and the older one goes on with what it knows.
func TestDeploy(t *testing.T) {
	t.Parallel()
	older := sharedHome(t, pgtest.Database(t))
	next := older.next(t)
	was := older.serve(t)
	ann, bob := was.signUp(t, "acme"), was.signUp(t, "beta")
	eve := was.signUp(t, "gone-wrong")
	old := ann.task(t, "Old")
	bob.task(t, "Old")
	admin := older.superuser(t)
	if _, err := admin.Exec(t.Context(), `alter table `+schema(t, admin, "gone-wrong")+`.task add column tint int`); err != nil { // the migration will fail
		t.Fatal(err)
	}

	alone := work(ann, "alone", was)
	until(t, "the load runs", func() bool { return alone.count() > 20 })
	now := next.serve(t)
	both := work(ann, "both", was, now)
	until(t, "both serve", func() bool { return both.count() > 100 })
	until(t, "what there was is rebuilt", func() bool {
		return strings.Contains(string(ann.at(now).want(t, http.StatusOK, "GET", "/api/tasks/"+old, "").body), `"Old!"`)
	})
	more := both.count()
	until(t, "both serve on", func() bool { return both.count() > more+50 })
	alone.end(t)
	both.end(t)
	was.stillReady(t)
	now.stillReady(t)

	// Only one workspace is unavailable at the next version. The older one serves it.
	if r, err := eve.at(now).do("GET", "/api/me", ""); err != nil || r.status != http.StatusServiceUnavailable || problemCode(r) != "workspace_migrating" || r.header.Get("Retry-After") == "" {
		t.Errorf("the workspace that cannot be migrated: %d %s %v", r.status, r.body, err)
	}
	eve.want(t, http.StatusOK, "GET", "/api/me", "")
	for _, args := range [][]string{{"migrate", "status"}, {"migrate"}} {
		status, stdout, stderr := next.run(args...)
		if said := stdout + stderr; status != failure || !strings.Contains(said, "gone-wrong") || !strings.Contains(said, "tint") || strings.Contains(said, "acme") {
			t.Errorf("kluis %v: status %d, %s", args, status, said)
		}
	}
	if n := strings.Count(now.log.String(), "could not be migrated"); n != 1 {
		t.Errorf("the failure is logged %d times", n)
	}
	if _, err := admin.Exec(t.Context(), `alter table `+schema(t, admin, "gone-wrong")+`.task drop column tint`); err != nil {
		t.Fatal(err)
	}
	until(t, "the mended workspace is served", func() bool {
		r, err := eve.at(now).do("GET", "/api/me", "")
		return err == nil && r.status == http.StatusOK
	})

	// The older version does not know an event. It refuses everything that needs the event, and the rest goes on.
	done, other := ann.task(t, "Done"), ann.task(t, "Other")
	ann.at(now).want(t, http.StatusOK, "POST", "/api/tasks/"+done+"/complete", "")
	if r, err := ann.do("GET", "/api/tasks/"+done+"/history", ""); err != nil || r.status != http.StatusServiceUnavailable || problemCode(r) != "newer_version" || r.header.Get("Retry-After") == "" {
		t.Errorf("the history of a task with an unknown event: %d %s %v", r.status, r.body, err)
	}
	if r := ann.want(t, http.StatusOK, "GET", "/api/tasks/"+done, ""); !strings.Contains(string(r.body), `"done"`) {
		t.Errorf("%s", r.body)
	}
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+other+"/history", "")
	ann.want(t, http.StatusOK, "POST", "/api/tasks/"+other+"/complete", "")

	// The older version makes no new workspaces.
	if r := was.verify(t, "late", ""); r.status != http.StatusServiceUnavailable || problemCode(r) != "newer_version" {
		t.Errorf("a sign-up at the older version: %d %s", r.status, r.body)
	}
	now.signUp(t, "later")
	if out := older.must(t, "migrate"); !strings.Contains(out, "a newer kluis has migrated") {
		t.Errorf("migrate, older: %s", out)
	}
	until(t, "nothing is left to rebuild", func() bool { return !strings.Contains(next.must(t, "migrate", "status"), "older shape") })
	next.must(t, "rebuild", "--check")

	// Back: the next version ends.
	now.stop(t)
	was.stillReady(t)
	for _, c := range []*client{ann, bob} { // what nobody folds is missing, and the answer says so
		id := c.task(t, "Behind")
		if r := c.want(t, http.StatusOK, "GET", "/api/tasks?limit=1", ""); r.header.Get("Kluis-Behind") == "" {
			t.Errorf("%s", r.body)
		}
		c.want(t, http.StatusServiceUnavailable, "GET", "/api/tasks/"+id, "")
	}
	if status, _, stderr := older.run("rebuild", "acme"); status != failure || !strings.Contains(stderr, "newer version") {
		t.Errorf("a rebuild of what it does not know: status %d, %s", status, stderr)
	}
	older.must(t, "rebuild", "beta")
	if r := bob.want(t, http.StatusOK, "GET", "/api/tasks", ""); r.header.Get("Kluis-Behind") != "" || strings.Contains(string(r.body), "!") || !strings.Contains(string(r.body), "Behind") {
		t.Errorf("the workspace that was rebuilt behind the roll back: %s %v", r.body, r.header)
	}

	// And forwards again: now the next version starts first.
	was.stop(t)
	now = next.serve(t)
	was = older.serve(t)
	both2 := work(bob, "again", now, was)
	until(t, "both serve", func() bool { return both2.count() > 50 })
	until(t, "all rows are of the newer shape", func() bool { return !strings.Contains(next.must(t, "migrate", "status"), "older shape") })
	both2.end(t)
	if r := bob.at(was).want(t, http.StatusOK, "GET", "/api/tasks", ""); strings.Contains(string(r.body), `Old",`) {
		t.Errorf("%s", r.body)
	}
	next.must(t, "rebuild", "--check")
	titles := next.titles(t, "acme")
	alone.logged(t, titles)
	both.logged(t, titles)
	both2.logged(t, next.titles(t, "beta"))
}

// stillReady asks once.
func (s *server) stillReady(t *testing.T) {
	t.Helper()
	c := &client{url: s.url, http: &http.Client{Timeout: 10 * time.Second}}
	if r, err := c.do("GET", "/readyz", ""); err != nil || r.status != http.StatusOK {
		t.Errorf("%s is not ready: %d %s %v", s.url, r.status, r.body, err)
	}
}
