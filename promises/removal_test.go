package promises

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// attempt is what a member tried who was being removed meanwhile.
type attempt struct {
	reply
	write bool
	after bool // it began when the removal had been answered
}

// hammer tries everything that a manager may do, in both processes, until it is told to stop.
type hammer struct {
	victim   *client
	task     domain.Task // of somebody else
	removed  atomic.Bool
	over     atomic.Bool
	mu       sync.Mutex
	attempts []attempt
}

func (h *hammer) try(t *testing.T, c *client, method, target string, body any) {
	after := h.removed.Load()
	a := c.call(t, method, target, body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts = append(h.attempts, attempt{a, method != "GET", after})
}

// reaches waits until there were n attempts.
func (h *hammer) reaches(n int) {
	for end := time.Now().Add(patience); h.count() < n && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
}

func (h *hammer) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.attempts)
}

func (h *hammer) run(t *testing.T, c *client, n int) {
	at := taskPath(h.task)
	for i := n; !h.over.Load(); i++ {
		switch i % 8 {
		case 0:
			h.try(t, c, "POST", "/api/tasks", object{"title": "mine"})
		case 1:
			h.try(t, c, "PATCH", at, object{"title": fmt.Sprint("theirs ", i)})
		case 2:
			h.try(t, c, "POST", at+"/comments", object{"body": "x"})
		case 3:
			h.try(t, c, "POST", at+"/complete", nil)
		case 4:
			h.try(t, c, "PUT", at+"/viewers/"+c.id.String(), nil)
			h.try(t, c, "DELETE", at+"/viewers/"+c.id.String(), nil)
		case 5:
			h.try(t, c, "GET", "/api/tasks?limit=200", nil)
		case 6:
			h.try(t, c, "GET", at, nil)
		case 7:
			h.try(t, c, "GET", "/api/members", nil)
			h.try(t, c, "POST", at+"/reopen", nil)
		}
	}
}

// What a member tries after their role was taken away is refused, and what they tried before has its place in the
// log before the removal, or none.
func TestNothingAfterTheRemoval(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			t.Parallel()
			p := newProcesses(t, 2, background)
			ada := p[0].signUp(t)
			rounds := 9
			if testing.Short() {
				rounds = 3
			}
			for round := range rounds {
				removeWhileTrying(t, ada.on(p[round%2]), p, stepDown[round%3].name)
			}
			ada.judge(t)
			ada.noDrift(t)
		})
	}
}

func removeWhileTrying(t *testing.T, ada *client, p []*process, way string) {
	h := &hammer{victim: ada.member(t, "manager"), task: ada.newTask(t)}
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() { h.run(t, h.victim.on(p[i%2]), i) })
	}
	h.reaches(25)
	var taken int64
	at := "/api/members/" + h.victim.id.String()
	switch way {
	case "demote":
		taken = ada.call(t, "PATCH", at, object{"role": "viewer"}).want(t, 200).position(t)
	case "deactivate":
		taken = ada.call(t, "POST", at+"/deactivate", nil).want(t, 200).position(t)
	case "delete":
		taken = ada.call(t, "DELETE", at, nil).want(t, 204).position(t)
	}
	h.removed.Store(true)
	h.reaches(h.count() + 40)
	h.over.Store(true)
	running.Wait()
	for _, a := range h.attempts {
		if a.after {
			h.refused(t, a, way)
		} else if a.write && a.status/100 == 2 && a.position(t) >= taken {
			t.Errorf("%s: position %d, and %s was at %d", a.what, a.position(t), way, taken)
		}
	}
	for _, r := range ada.log(t)[taken:] {
		if r.Actor != nil && *r.Actor == h.victim.id {
			t.Errorf("%s at position %d: %s by the victim at %d", way, taken, r.Type, r.Position)
		}
	}
}

// refused checks what was asked after the removal: all is refused, but for what a viewer may see.
func (h *hammer) refused(t *testing.T, a attempt, way string) {
	t.Helper()
	if way != "demote" {
		if a.status != 401 {
			t.Errorf("after %s: %s: %d %.300s", way, a.what, a.status, a.body)
		}
		return
	}
	switch {
	case a.status == 403:
	case a.what == "GET /api/tasks?limit=200" && a.status == 200:
		for _, task := range decode[list[domain.Task]](t, a.reply).Items {
			if task.CreatedBy != h.victim.id && !strings.Contains(fmt.Sprint(task.ViewerIDs), h.victim.id.String()) {
				t.Errorf("after %s a task of another is shown", way)
			}
		}
	case a.what == "GET "+taskPath(h.task):
		if a.status == 200 && !strings.Contains(string(a.body), h.victim.id.String()) || a.status != 200 && a.status != 404 {
			t.Errorf("after %s: %s: %d %.300s", way, a.what, a.status, a.body)
		}
	default:
		t.Errorf("after %s: %s: %d %.300s", way, a.what, a.status, a.body)
	}
}

// target is the path of an operation with ids that nothing has.
func (op apiOperation) target() string {
	path := op.path
	for strings.Contains(path, "{") {
		before, rest, _ := strings.Cut(path, "{")
		_, after, _ := strings.Cut(rest, "}")
		path = before + uuid.NewString() + after
	}
	return path
}

// Whoever is out is out of every operation, whatever way they went.
func TestEveryOperationRefusesWhoIsOut(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	out := map[string]*client{"a stranger": p[0].public(), "a made-up token": p[0].public().as("kls_" + strings.Repeat("A", 70))}
	for _, way := range stepDown[1:] {
		c := ada.member(t, "admin")
		way.do(t, ada, c.id)
		out[way.name] = c
	}
	left := ada.member(t, "admin")
	left.call(t, "POST", "/api/logout", nil).want(t, 204)
	out["logged out"] = left
	for name, c := range out {
		for i, op := range schema().operations {
			if op.rule() == "public" {
				continue
			}
			if a := c.on(p[i%2]).call(t, op.method, op.target(), nil); a.status != 401 || a.outcome(t) != "unauthenticated" {
				t.Errorf("%s: %s: %d %.200s", name, op.id, a.status, a.body)
			}
		}
	}
}

// An operation asks for what its declaration says, of every role.
func TestEveryOperationAsksForItsPermission(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "viewer")
	head := ada.head(t)
	for _, role := range domain.BuiltInRoles {
		if a := ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": role.Name}).want(t, 200); a.position(t) != head {
			head++
		}
		for _, op := range schema().operations {
			if op.rule() == "public" || op.id == "log-out" {
				continue
			}
			resource, action, _ := strings.Cut(op.rule(), ":")
			may := op.rule() == "signed_in" || role.Grants.Allow(domain.Permission{Resource: resource, Action: action})
			if may && op.id == "request-export" { // it takes nothing at all, and would be done
				continue
			}
			var body any
			if op.RequestBody != nil && !op.RequestBody.Value.Required { // else nothing at all would do
				body = object{"no such field": 1}
			}
			a := bob.call(t, op.method, op.target(), body)
			if a.status == 401 || may != (a.status != 403) {
				t.Errorf("%s as %s: %d %.200s", op.id, role.Name, a.status, a.body)
			}
		}
	}
	if ada.head(t) != head {
		t.Error("something was stored")
	}
}
