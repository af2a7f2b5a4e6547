package promises

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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

// The first answer comes again whatever became of the thing; the key is the member's, for one operation, for a day.
func TestKeysAreKeptApart(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	key := "Idempotency-Key: key 1"
	tag := ada.newTag(t, "one")
	wanted := object{"title": "one", "tag_ids": []uuid.UUID{tag.ID}}
	first := ada.call(t, "POST", "/api/tasks", wanted, key).want(t, 201)
	task := decode[domain.Task](t, first)
	ada.call(t, "PATCH", taskPath(task), object{"title": "two"}).want(t, 200)
	ada.call(t, "DELETE", tagPath(tag), nil).want(t, 204)
	ada.call(t, "DELETE", taskPath(task), nil).want(t, 204)
	if again := ada.on(p[1]).call(t, "POST", "/api/tasks", wanted, key); again.essence() != first.essence() {
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
		for i, tag := range []string{`"17"`, `"999999999999999999"`, `W/"17"`, `"17", "18"`, `"17-gzip"`} {
			ada.on(p[i%2]).call(t, op.method, target, body, "If-Match: "+tag).problem(t, 412, "stale")
		}
		for _, tag := range []string{`17`, `"x"`, `""`, `"0"`, `"-1"`, `"1" "2"`, `"1",`, `"1`, `w/"1"`, `"9999999999999999999"`, `'1'`, `**`, "é", `"1" ` + "\t" + `"1"`} {
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

// keyless are the operations that change something and take no Idempotency-Key, with the reason. The public ones take
// none either, since a key is a member's.
var keyless = map[string]string{
	"create-token":    "its secret is shown once",
	"change-password": "passwords are no history, and the second time the old one is wrong",
	"log-out":         "sessions are no history, and the second time there is none to ask with",
	"end-session":     "sessions are no history, and ended twice is ended",

	"begin-two-factor":     "its secret is shown once, and a later one takes its place",
	"confirm-two-factor":   "recovery codes are shown once, and the second time it is on",
	"renew-recovery-codes": "recovery codes are shown once, and a code is good once",
	"test-receiver":        "it changes nothing, and whoever asks again wants another message",
	"export-member-data":   "it is what there is at that moment, and the log tells of each time",

	"disable-two-factor": "the second time it is off",
}

// Every command takes a key, says so in the schema, and heeds it: the second answer is the first, with no effect, also
// when nothing was to be done; the key is good for the same path, body and If-Match only.
func TestKeyOnEveryCommand(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	shared := p[0].newTenant(t)
	for _, op := range sampled(t) {
		keyed := op.Parameters.GetByInAndName("header", "Idempotency-Key") != nil
		if op.method == "GET" || op.public() || keyless[op.id] != "" {
			if keyed {
				t.Errorf("%s takes a key", op.id)
			}
			continue
		}
		if !keyed {
			t.Errorf("%s takes no key: declare it as a command, or say here why", op.id)
			continue
		}
		x := shared
		if op.method == "DELETE" || op.id == "merge-tag" || op.id == "erase-member" { // the thing is gone then
			x = p[0].newTenant(t)
		}
		ids, key := x.ids(t, op), "Idempotency-Key: "+op.id
		var body, other any
		if made := x.body(t, op); made != nil {
			body, other = made, x.otherBody(t, op, made)
		}
		if op.id == "update-policy" { // the first step towards a change of it
			x.enrol(t)
		}
		first := x.askAtOnce(t, p, op, op.at(ids)+op.query(), body, key)
		if first.status/100 != 2 {
			t.Errorf("%s: %d %s", op.id, first.status, first.body)
			continue
		}
		stored := x.stored(t)
		for i := range p {
			y := x.on(p[i])
			if again := y.call(t, op.method, op.at(ids)+op.query(), body, key); again.essence() != first.essence() {
				t.Errorf("%s: answered %s and later %s", op.id, first.essence(), again.essence())
			}
			for name, id := range ids {
				if uuid.Validate(id) != nil {
					continue
				}
				changed := maps.Clone(ids)
				changed[name] = uuid.NewString()
				y.call(t, op.method, op.at(changed), body, key).problem(t, 422, "idempotency_key_reused")
			}
			if op.Parameters.GetByInAndName("header", "If-Match") != nil {
				y.call(t, op.method, op.at(ids)+op.query(), body, key, `If-Match: "1"`).problem(t, 422, "idempotency_key_reused")
			}
			if other != nil {
				y.call(t, op.method, op.at(ids)+op.query(), other, key).problem(t, 422, "idempotency_key_reused")
			}
		}
		if after := x.stored(t); after != stored {
			t.Errorf("%s: the repeats stored something: %s, before %s", op.id, after, stored)
		}
		x.noDrift(t)
	}
}

// askAtOnce sends one request many times at the same instant, to two processes: one is the first, and all others are answered like
// the first, or that it is still under way.
func (x *tenant) askAtOnce(t *testing.T, p []*process, op apiOperation, target string, body any, key string) (first reply) {
	t.Helper()
	answers := make([]reply, 12)
	parallel(len(answers), func(i int) { answers[i] = x.on(p[i%2]).call(t, op.method, target, body, key) })
	for _, a := range answers {
		switch {
		case a.status == 409 && a.outcome(t) == "idempotency_key_in_use":
		case first.status == 0:
			first = a
		case a.essence() != first.essence():
			t.Errorf("%s: answered %s and %s", op.id, first.essence(), a.essence())
		}
	}
	if first.status/100 == 2 && x.head(t) != first.position(t) {
		t.Errorf("%s: the answer is of position %d, and the log goes on to %d", op.id, first.position(t), x.head(t))
	}
	return first
}

// otherBody is body but for one field.
func (x *tenant) otherBody(t tester, op apiOperation, body object) object {
	t.Helper()
	for range 20 {
		other := x.body(t, op)
		if string(must(json.Marshal(other))) != string(must(json.Marshal(body))) {
			return other
		}
	}
	other := maps.Clone(body)
	for name, values := range map[string][]string{"role": {"viewer", "auditor"}, "body": {"1", "2"}, "language": {"fr", "nl"}, "title": {"1", "2"}, "name": {"1", "2"}, "confirm": {"1", "2"}} {
		for _, v := range values {
			if was, there := body[name]; there && was != v {
				other[name] = v
				return other
			}
		}
	}
	t.Fatalf("once_test.go knows no other body for %s", op.id)
	return nil
}

// A repeat answers with what was then, whatever became of the thing, and of the version that If-Match named.
func TestRepeatedAfterChanges(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	task := ada.newTask(t)
	key := "Idempotency-Key: k"
	first := ada.call(t, "PATCH", taskPath(task), object{"title": "one"}, key, `If-Match: "1"`).want(t, 200)
	ada.call(t, "PATCH", taskPath(task), object{"title": "two"}, `If-Match: "2"`).want(t, 200)
	removed := ada.call(t, "DELETE", taskPath(task), nil, key, `If-Match: "3"`).want(t, 204)
	role := ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": "viewer"}, key).want(t, 200)
	ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": "manager"}).want(t, 200)
	check := func() {
		t.Helper()
		for i := range p {
			at := ada.on(p[i])
			for what, pair := range map[string][2]reply{
				"PATCH task":   {first, at.call(t, "PATCH", taskPath(task), object{"title": "one"}, key, `If-Match: "1"`)},
				"DELETE task":  {removed, at.call(t, "DELETE", taskPath(task), nil, key, `If-Match: "3"`)},
				"PATCH member": {role, at.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": "viewer"}, key)},
			} {
				if pair[0].essence() != pair[1].essence() {
					t.Errorf("%s: answered %s and later %s", what, pair[0].essence(), pair[1].essence())
				}
			}
		}
	}
	check() // of a task that is deleted
	ada.call(t, "POST", taskPath(task, "restore"), nil).want(t, 200)
	check()
	if got := decode[domain.Task](t, ada.call(t, "GET", taskPath(task), nil).want(t, 200)); got.Title != "two" || got.DeletedAt != nil {
		t.Errorf("after the repeats: %+v", got)
	}
	ada.call(t, "DELETE", "/api/members/"+bob.id.String(), nil).want(t, 204)
	check()
	if ada.count(t, "member.role_changed") != 2 || ada.count(t, "task.updated") != 2 {
		t.Error("a repeat had an effect")
	}
}

// A key remembers that nothing was to be done: the repeat does not do it later, over what others did meanwhile.
func TestRepeatedWithoutEffect(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t, object{"title": "same", "status": "done"})
	key, head := "Idempotency-Key: k", ada.head(t)
	answers := make([]reply, 20)
	parallel(len(answers), func(i int) {
		answers[i] = ada.on(p[i%2]).call(t, "PATCH", taskPath(task), object{"title": "same"}, key)
	})
	var first reply
	for _, a := range answers {
		if a.status != 409 {
			first = a.want(t, 200)
		}
	}
	completed := ada.call(t, "POST", taskPath(task, "complete"), nil, key).want(t, 200)
	if ada.head(t) != head || first.position(t) != head || completed.position(t) != head {
		t.Error("what changes nothing is in the log")
	}
	ada.call(t, "PATCH", taskPath(task), object{"title": "by others", "status": "open"}).want(t, 200)
	for i := range p {
		at := ada.on(p[i])
		for _, pair := range [][2]reply{{first, at.call(t, "PATCH", taskPath(task), object{"title": "same"}, key)},
			{completed, at.call(t, "POST", taskPath(task, "complete"), nil, key)}} {
			if pair[0].essence() != pair[1].essence() {
				t.Errorf("answered %s and later %s", pair[0].essence(), pair[1].essence())
			}
		}
		at.call(t, "PATCH", taskPath(task), object{"title": "other"}, key).problem(t, 422, "idempotency_key_reused")
	}
	if got := decode[domain.Task](t, ada.call(t, "GET", taskPath(task), nil).want(t, 200)); got.Title != "by others" || got.Status != "open" {
		t.Errorf("after the repeats: %+v", got)
	}
	ada.noDrift(t)
}

// What a command does before its event is in the log does not happen for a request that only has the key of another.
func TestUsedKeysTouchNothing(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	key := "Idempotency-Key: k"
	_, one := ada.newToken(t)
	bearer, two := ada.newToken(t)
	ada.call(t, "DELETE", "/api/tokens/"+one.ID.String(), nil, key).want(t, 204)
	ada.on(p[1]).call(t, "DELETE", "/api/tokens/"+two.ID.String(), nil, key).problem(t, 422, "idempotency_key_reused")
	bearer.call(t, "GET", "/api/me", nil).want(t, 200)
	var ids [2]uuid.UUID
	for i := range ids {
		ids[i] = decode[domain.Integration](t, ada.call(t, "POST", "/api/integrations", object{"provider": "x", "name": "x", "access_token": "x"}).want(t, 201)).ID
	}
	ada.call(t, "DELETE", "/api/integrations/"+ids[0].String(), nil, key).want(t, 204)
	for i := range p {
		ada.on(p[i]).call(t, "DELETE", "/api/integrations/"+ids[1].String(), nil, key).problem(t, 422, "idempotency_key_reused")
	}
	if n := ada.secrets(t); n != 1 {
		t.Errorf("%d secrets of one integration", n)
	}
	keys := func() (n int) {
		if err := ada.db.Read(t.Context(), ada.workspace, pg.Exec(`select count(*) from data_key`).Scan(&n)); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eve := object{"email": "eve@people.example", "full_name": "Eve", "role": "member"}
	ada.call(t, "POST", "/api/members", eve, key).want(t, 201)
	before := keys()
	ada.call(t, "POST", "/api/members", eve, key).want(t, 201)
	ada.on(p[1]).call(t, "POST", "/api/members", object{"email": "bob@people.example", "full_name": "Bob", "role": "member"}, key).problem(t, 422, "idempotency_key_reused")
	if after := keys(); after != before {
		t.Errorf("%d data keys, before %d", after, before)
	}
}
