package promises

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/projections"
)

// Nobody can read any more who an erased member was, in any process; what they did stays; and nothing that let them in is left.
func TestErasedMember(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, true)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	bob.enrol(t)
	bob.newToken(t, domain.Grant{Resource: "task", Action: "read", Scope: domain.All})
	task := decode[domain.Task](t, bob.call(t, "POST", "/api/tasks", object{"title": "Paint the door"}, "User-Agent: agent-of-bob", "Idempotency-Key: "+uuid.NewString()).want(t, 201))
	bob.call(t, "POST", taskPath(task, "comments"), object{"body": "Two coats."}).want(t, 201)
	bob.call(t, "PATCH", "/api/me", object{"language": "nl"}).want(t, 200)
	before := time.Now().UTC().Format(time.RFC3339Nano)
	for _, q := range p { // both have the key open
		ada.on(q).call(t, "GET", "/api/audit/events?limit=200", nil).want(t, 200)
	}
	if places := p[0].everywhere(t, bob.email); len(places) == 0 {
		t.Error("the test finds no mail that names an address: it would not find what an erasure leaves")
	}

	erased := decode[member](t, ada.call(t, "POST", "/api/members/"+bob.id.String()+"/erase", nil).want(t, 200))
	if erased.Status != domain.Removed || erased.FullName != "" || erased.Email != "" {
		t.Errorf("%+v", erased)
	}
	if places := p[0].everywhere(t, bob.email, bob.name, "agent-of-bob"); places != nil {
		t.Errorf("there is still %v", places)
	}
	if counts := bob.rowsOf(t); len(counts) != 0 {
		t.Errorf("there are still rows in %v", counts)
	}
	if !bob.ledgered(t) {
		t.Error("it is not in the ledger")
	}
	for _, q := range p {
		bob.on(q).call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
		bob.on(q).logIn(t, bob.password).problem(t, 401, "bad_credentials")
		there := ada.on(q)
		for _, path := range []string{"/api/audit/events?limit=200", "/api/tasks/" + task.ID.String() + "/history", "/api/tasks/" + task.ID.String() + "/comments", "/api/audit/replay", "/api/audit/export?format=csv",
			"/api/members/" + bob.id.String() + "/history", "/api/members?as_of=" + before} {
			a := there.call(t, "GET", path, nil)
			if a.status != 200 && a.status != 403 { // the plan
				t.Errorf("%s: %d", path, a.status)
			}
			for _, text := range []string{bob.email, bob.name, "agent-of-bob"} {
				if q == p[0] && strings.Contains(string(a.body), text) || !strings.Contains(path, "as_of") && strings.Contains(string(a.body), text) {
					t.Errorf("%s still tells %q", path, text)
				}
			}
		}
		if text := string(there.call(t, "GET", "/api/audit/events?limit=200", nil, "Accept-Language: nl").body); !strings.Contains(text, "gewist") {
			t.Errorf("it is not told who: %s", text)
		}
		there.noDrift(t)
	}
	ada.judge(t)
	ada.isVerified(t)
	if _, err := p[1].projections.Rebuild(t.Context(), ada.workspace, nil); err != nil {
		t.Error(err)
	}
	ada.noDrift(t)

	again := ada.call(t, "POST", "/api/members", object{"email": bob.email, "full_name": bob.name, "role": "member"}).want(t, 201)
	if id := decode[member](t, again).ID; id == bob.id {
		t.Error("whoever is invited again is the one who was erased")
	}
	ada.call(t, "POST", "/api/members/"+bob.id.String()+"/erase", nil).want(t, 200) // once more is nothing
	ada.call(t, "POST", "/api/members/"+ada.id.String()+"/erase", nil).problem(t, http.StatusConflict, "last_admin")
}

// isVerified checks the log against its checkpoint.
func (c *client) isVerified(t *testing.T) {
	t.Helper()
	signed := c.call(t, "GET", "/api/audit/checkpoint", nil).want(t, 200)
	if _, err := checkpoint.Open(signed.body, c.keys.PublicKeys()); err != nil {
		t.Error(err)
	}
	result, err := c.store.Verify(t.Context(), c.workspace, projections.Expected(c.workspace, nil, 1), nil)
	if err != nil || len(result.Findings) > 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

// Of an erasure and whatever else is done to, or by, the same member at the same moment both are right, or one is refused: what is left is never
// half a person.
func TestErasureRaces(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, true)
	ada := p[0].signUp(t)
	for name, other := range map[string]func(t *testing.T, x *client){
		"log-in":  func(t *testing.T, x *client) { x.logIn(t, x.password) },
		"comment": func(t *testing.T, x *client) { x.call(t, "POST", "/api/tasks", object{"title": "x"}) },
		"invitation": func(t *testing.T, x *client) {
			ada.on(x.process).call(t, "POST", "/api/members", object{"email": x.email, "full_name": x.name, "role": "viewer"})
		},
		"role": func(t *testing.T, x *client) {
			ada.on(x.process).call(t, "PATCH", "/api/members/"+x.id.String(), object{"role": "viewer"})
		},
		"assignment": func(t *testing.T, x *client) {
			ada.on(x.process).call(t, "POST", "/api/tasks", object{"title": "y", "assignee_ids": []uuid.UUID{x.id}})
		},
		"code": func(t *testing.T, x *client) {
			x.public().call(t, "POST", "/api/password/forgot", object{"workspace": x.slug, "email": x.email})
		},
		"rebuild": func(t *testing.T, x *client) { _, _ = x.projections.Rebuild(t.Context(), x.workspace, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				bob := ada.member(t, "member").on(p[1])
				var both sync.WaitGroup
				both.Go(func() { ada.call(t, "POST", "/api/members/"+bob.id.String()+"/erase", nil).want(t, 200) })
				both.Go(func() { other(t, bob) })
				both.Wait()
				if counts := bob.rowsOf(t); len(counts) != 0 {
					t.Errorf("there are still rows in %v", counts)
				}
				bob.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
			}
			ada.noDrift(t)
		})
	}
	ada.judge(t)
}

// A placeholder, somebody who was only invited, and somebody who left long ago, are erased as a member is.
func TestErasedWithoutAccount(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)
	ada := p[0].signUp(t)
	invited, left := ada.invite(t, "member"), ada.member(t, "member")
	ada.call(t, "DELETE", "/api/members/"+left.id.String(), nil).want(t, 204)
	for _, x := range []*client{invited, left} {
		a := ada.call(t, "POST", "/api/members/"+x.id.String()+"/erase", nil).want(t, 200)
		var body struct {
			ErasedAt *time.Time `json:"erased_at"`
		}
		if err := json.Unmarshal(a.body, &body); err != nil || body.ErasedAt == nil {
			t.Errorf("%s, %v", a.body, err)
		}
		if counts := x.rowsOf(t); len(counts) != 0 || !x.ledgered(t) {
			t.Errorf("%v", counts)
		}
	}
	if places := p[0].everywhere(t, invited.name, left.name, invited.email, left.email); places != nil {
		t.Errorf("there is still %v", places)
	}
	bob := ada.member(t, "member")
	bob.call(t, "POST", "/api/members/"+bob.id.String()+"/erase", nil).problem(t, 403, "forbidden")
	script, _ := ada.newToken(t, domain.Grant{Resource: "member", Action: "delete", Scope: domain.All})
	script.call(t, "POST", "/api/members/"+bob.id.String()+"/erase", nil).problem(t, 403, "session_required")
	if !slices.Contains(domain.Types(), "member.erased") {
		t.Error("no event tells of it")
	}
	ada.judge(t)
}
