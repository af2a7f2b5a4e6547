package http_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// count gives how many records of the log have a type.
func (c *client) count(t tester, kind string) (n int) {
	t.Helper()
	for _, r := range c.log(t) {
		if r.Type == kind {
			n++
		}
	}
	return n
}

// essence is what the same request must be answered with again.
func (a reply) essence() string {
	return fmt.Sprint(a.status, a.header.Get("ETag"), a.header.Get("Kluis-Position"), string(a.body))
}

func TestSameKeyHasOneEffect(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	task := ada.newTask(t)
	for _, op := range []struct {
		name, path, kind string
		body, other      object
	}{
		{"create-task", "/api/tasks", "task.created", object{"title": "once", "assignee_ids": []uuid.UUID{bob.id}}, object{"title": "twice"}},
		{"create-comment", taskPath(task, "comments"), "comment.created", object{"body": "once"}, object{"body": "twice"}},
		{"invite-member", "/api/members", "member.invited", object{"email": "eve@people.example", "full_name": "Eve", "role": "member"},
			object{"email": "eve@people.example", "full_name": "Eve", "role": "viewer"}},
	} {
		before := ada.count(t, op.kind)
		key := "Idempotency-Key: " + uuid.NewString()
		answers := make([]reply, 20)
		parallel(len(answers), func(i int) { answers[i] = ada.on(p[i%2]).call(t, "POST", op.path, op.body, key) })
		var first reply
		for _, a := range answers {
			switch {
			case a.status == 409:
				a.problem(t, 409, "idempotency_key_in_use")
			case first.status == 0:
				first = a.want(t, 201)
			case a.essence() != first.essence():
				t.Errorf("%s: answered %s and %s", op.name, first.essence(), a.essence())
			}
		}
		if n := ada.count(t, op.kind) - before; n != 1 || first.status == 0 {
			t.Fatalf("%s: %d times %s", op.name, n, op.kind)
		}
		for i := range p {
			if again := ada.on(p[i]).call(t, "POST", op.path, op.body, key); again.essence() != first.essence() {
				t.Errorf("%s: answered %s and later %s", op.name, first.essence(), again.essence())
			}
			ada.on(p[i]).call(t, "POST", op.path, op.other, key).problem(t, 422, "idempotency_key_reused")
		}
		if ada.count(t, op.kind)-before != 1 {
			t.Errorf("%s: repeating it had an effect", op.name)
		}
	}
}

// The first answer comes again whatever became of the thing; the key is the member's, for one operation, for a day.
func TestKeysAreKeptApart(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	key := "Idempotency-Key: key 1"
	first := ada.call(t, "POST", "/api/tasks", object{"title": "one"}, key).want(t, 201)
	task := decode[domain.Task](t, first)
	ada.call(t, "PATCH", taskPath(task), object{"title": "two"}).want(t, 200)
	ada.call(t, "DELETE", taskPath(task), nil).want(t, 204)
	if again := ada.on(p[1]).call(t, "POST", "/api/tasks", object{"title": "one"}, key); again.essence() != first.essence() {
		t.Errorf("answered %s and later %s", first.essence(), again.essence())
	}
	for _, a := range []reply{
		bob.call(t, "POST", "/api/tasks", object{"title": "one"}, key),
		ada.call(t, "POST", "/api/tasks", object{"title": "one"}, "Idempotency-Key: key 2"),
		ada.call(t, "POST", "/api/tasks", object{"title": "one"}),
	} {
		if decode[domain.Task](t, a.want(t, 201)).ID == task.ID {
			t.Error("another key has the same task")
		}
	}
	other := ada.newTask(t)
	ada.call(t, "POST", taskPath(other, "comments"), object{"body": "one"}, key).want(t, 201)
	ada.call(t, "POST", "/api/tasks", object{"title": " "}, "Idempotency-Key: key 3").want(t, 422)
	ada.call(t, "POST", "/api/tasks", object{"title": "refused before"}, "Idempotency-Key: key 3").want(t, 201)
	if err := ada.db.Do(t.Context(), ada.workspace, pg.Exec(`update dedupe set at = at - interval '25 hours'`)); !pg.Is(err, pg.AccessDenied) {
		t.Fatalf("keys can be changed: %v", err)
	}
	head := ada.head(t)
	for _, bad := range []string{"", strings.Repeat("x", 201), "é", "a\tb"} {
		a := ada.call(t, "POST", "/api/tasks", object{"title": "x"}, "Idempotency-Key: "+bad)
		if p := a.problem(t, 422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Pointer != "/Idempotency-Key" {
			t.Errorf("%q: %s", bad, a.body)
		}
	}
	if ada.head(t) != head {
		t.Error("a bad key stored something")
	}
	ada.call(t, "POST", "/api/tasks", object{"title": "x"}, "Idempotency-Key: "+strings.Repeat("~", 200)).want(t, 201)
}

// Who does not hear the answer, and asks again with the same key, has one thing.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	const rounds = 40
	for i := range rounds {
		body, key := object{"title": fmt.Sprint("task ", i)}, fmt.Sprint("Idempotency-Key: ", i)
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(6*time.Millisecond))
		if response, err := wire.Do(ada.request(t, "POST", "/api/tasks", body, key).WithContext(ctx)); err == nil {
			response.Body.Close()
		}
		cancel()
		a := ada.on(p[i%2]).call(t, "POST", "/api/tasks", body, key)
		for a.status == 409 {
			a.problem(t, 409, "idempotency_key_in_use")
			a = ada.on(p[i%2]).call(t, "POST", "/api/tasks", body, key)
		}
		a.want(t, 201)
	}
	if n := ada.count(t, "task.created"); n != rounds {
		t.Errorf("%d tasks of %d", n, rounds)
	}
	titles := map[string]bool{}
	for _, task := range pages[domain.Task](t, ada, "/api/tasks", 200) {
		titles[task.Title] = true
	}
	if len(titles) != rounds {
		t.Errorf("%d titles of %d", len(titles), rounds)
	}
}

func TestOneOfManyWithTheSameETag(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		tag := fmt.Sprintf(`If-Match: "%d"`, round+1)
		answers := make([]reply, 20)
		parallel(len(answers), func(i int) {
			answers[i] = ada.on(p[i%2]).call(t, "PATCH", taskPath(task), object{"title": fmt.Sprint(round, " ", i)}, tag)
		})
		winner := slices.IndexFunc(answers, func(a reply) bool { return a.status == 200 })
		for i, a := range answers {
			if i != winner {
				a.problem(t, 412, "stale")
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		got := decode[domain.Task](t, ada.call(t, "GET", taskPath(task), nil).want(t, 200))
		if got.Title != fmt.Sprint(round, " ", winner) || got.Version != round+2 {
			t.Fatalf("round %d: %+v", round, got)
		}
	}
}

// If-Match counts on every operation that takes it, and what it refuses stores nothing.
func TestIfMatchOnEveryOperation(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].newTenant(t)
	for _, op := range sampled(t) {
		if op.Parameters.GetByInAndName("header", "If-Match") == nil {
			continue
		}
		target := op.at(ada.ids(t, op))
		var body any
		if made := ada.body(t, op); made != nil {
			body = made
		}
		head := ada.head(t)
		for i, tag := range []string{`"17"`, `"999999999999999999"`, `W/"17"`} {
			ada.on(p[i%2]).call(t, op.method, target, body, "If-Match: "+tag).problem(t, 412, "stale")
		}
		for _, tag := range []string{`17`, `"x"`, `""`, `"0"`, `"-1"`, `"1", "2"`, `"1`, `w/"1"`, `"9999999999999999999"`, `'1'`, `**`, "é", `"1" ` + "\t" + `"1"`} {
			a := ada.call(t, op.method, target, body, "If-Match: "+tag)
			if p := a.problem(t, 422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Pointer != "/If-Match" || p.Errors[0].In != "header" {
				t.Errorf("%s with %s: %s", op.id, tag, a.body)
			}
		}
		if ada.head(t) != head {
			t.Errorf("%s stored something", op.id)
		}
	}
	at := "/api/members/" + ada.other.id.String()
	tag := ada.call(t, "GET", at, nil).want(t, 200).header.Get("ETag")
	ada.call(t, "PATCH", at, object{"role": "viewer"}, "If-Match: "+tag).want(t, 200)
	ada.call(t, "PATCH", at, object{"role": "member"}, "If-Match: "+tag).problem(t, 412, "stale")
	task := ada.newTask(t)
	ada.call(t, "PATCH", taskPath(task), object{"title": "z"}, "If-Match: *").want(t, 200)
	ada.call(t, "PATCH", taskPath(task), object{"title": "zz"}, `If-Match: W/"2"`).want(t, 200)
	ada.call(t, "DELETE", taskPath(task), nil, `If-Match: "3"`).want(t, 204)
	ada.noDrift(t)
}
