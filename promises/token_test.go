package promises

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	all, made := bob.newToken(t)
	role, _ := domain.BuiltInRole("member")
	if len(made.Grants) != len(role.Grants) {
		t.Errorf("without grants it has %v", made.Grants)
	}
	task := all.on(p[1]).newTask(t)
	if task.CreatedBy != bob.id {
		t.Errorf("created by %s, not by %s", task.CreatedBy, bob.id)
	}
	reader, _ := bob.newToken(t, grant(domain.ReadTask, domain.Own), grant(domain.CreateComment, domain.All))
	others := ada.newTask(t)
	reader.call(t, "GET", taskPath(task), nil).want(t, 200)
	reader.call(t, "GET", taskPath(others), nil).problem(t, 404, "task_not_found")
	bob.call(t, "GET", taskPath(others), nil).want(t, 200)
	reader.call(t, "POST", taskPath(task, "complete"), nil).problem(t, 403, "forbidden")
	reader.call(t, "GET", "/api/members", nil).problem(t, 403, "forbidden")
	for _, c := range []*client{reader, all} {
		c.call(t, "POST", "/api/tokens", object{"name": "x", "expires_at": tomorrow}).problem(t, 403, "session_required")
		c.call(t, "DELETE", "/api/tokens/"+made.ID.String(), nil).problem(t, 403, "session_required")
		for _, asked := range []request{{"GET", "/api/tokens", nil}, {"GET", "/api/sessions", nil}, {"POST", "/api/members/" + bob.id.String() + "/data", nil}} { // what a member is and has is not in any grant
			asked.send(t, c).problem(t, 403, "session_required")
		}
	}

	listed := pages[apiToken](t, bob.on(p[1]), "/api/tokens", 1)
	if len(listed) != 2 || listed[1].ID != made.ID || listed[1].Token != "" || listed[1].UsedAt == nil || time.Since(*listed[1].UsedAt) > time.Minute {
		t.Errorf("listed %+v", listed)
	}
	if of := pages[apiToken](t, ada, "/api/tokens", 50); len(of) != 0 {
		t.Errorf("an admin sees the tokens of others: %+v", of)
	}
	ada.call(t, "DELETE", "/api/tokens/"+made.ID.String(), nil).problem(t, 404, "token_not_found")
	bob.call(t, "DELETE", "/api/tokens/"+made.ID.String(), nil).want(t, 204)
	for _, q := range p {
		all.on(q).call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	}
	bob.call(t, "DELETE", "/api/tokens/"+made.ID.String(), nil).problem(t, 404, "token_not_found")
	if listed = pages[apiToken](t, bob, "/api/tokens", 50); len(listed) != 1 {
		t.Errorf("listed %+v", listed)
	}
	reader.call(t, "GET", taskPath(task), nil).want(t, 200)
	var types []string
	for _, r := range ada.log(t) {
		if strings.HasPrefix(r.Type, "token.") {
			types = append(types, r.Type)
			if strings.Contains(string(r.Data), "klp_") || r.Actor == nil || *r.Actor != bob.id {
				t.Errorf("record %s", r.AppendLine(nil))
			}
		}
	}
	if strings.Join(types, " ") != "token.created token.created token.revoked" {
		t.Errorf("in the log: %v", types)
	}
	ada.noDrift(t)
}

// A token never does more than its owner may, whatever happens to the owner.
func TestTokenFollowsItsOwner(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "admin")
	token, _ := bob.newToken(t)
	far := token.on(p[1])
	member := "/api/members/" + bob.id.String()
	steps := []struct {
		do     func()
		status int
	}{
		{func() {}, 200},
		{func() { ada.call(t, "PATCH", member, object{"role": "analyst"}).want(t, 200) }, 403},
		{func() { ada.call(t, "PATCH", member, object{"role": "admin"}).want(t, 200) }, 200},
		{func() { ada.call(t, "POST", member+"/deactivate", nil).want(t, 200) }, 401},
		{func() { ada.call(t, "POST", member+"/reactivate", nil).want(t, 200) }, 401}, // it has ended for good
		{func() {
			bob.enter(t, bob.logIn(t, bob.password).want(t, 200))
			token, _ = bob.newToken(t)
			far = token.on(p[1])
		}, 200},
		{func() { bob.call(t, "POST", "/api/logout", nil).want(t, 204) }, 200},
		{func() { ada.call(t, "DELETE", member, nil).want(t, 204) }, 401},
	}
	for i, s := range steps {
		s.do()
		far.call(t, "GET", "/api/audit/events?limit=1", nil).want(t, s.status)
		if status := token.call(t, "PATCH", "/api/workspace", object{"name": "Works " + uuid.NewString()}).status; status != s.status {
			t.Errorf("step %d: status %d, want %d", i, status, s.status)
		}
	}

	// Made by a member, it stays a member's when the owner becomes more.
	eve := ada.member(t, "member")
	weak, _ := eve.newToken(t)
	ada.call(t, "PATCH", "/api/members/"+eve.id.String(), object{"role": "admin"}).want(t, 200)
	eve.call(t, "GET", "/api/audit/events", nil).want(t, 200)
	weak.call(t, "GET", "/api/audit/events", nil).problem(t, 403, "forbidden")
	weak.newTask(t)
}

func TestTokenRefuses(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	bob := ada.member(t, "member")
	year := time.Now().AddDate(1, 0, 0)
	for name, c := range map[string]struct {
		body   object
		status int
	}{
		"no expiry":     {object{"name": "x"}, 422},
		"past expiry":   {object{"name": "x", "expires_at": time.Now().Add(-time.Second)}, 422},
		"late expiry":   {object{"name": "x", "expires_at": year.Add(time.Minute)}, 422},
		"just a year":   {object{"name": "x", "expires_at": year}, 201},
		"no name":       {object{"expires_at": tomorrow}, 422},
		"empty name":    {object{"name": " ", "expires_at": tomorrow}, 422},
		"wider":         {object{"name": "x", "expires_at": tomorrow, "grants": []domain.Grant{grant(domain.DeleteTask, domain.All)}}, 403},
		"as wide":       {object{"name": "x", "expires_at": tomorrow, "grants": []domain.Grant{grant(domain.DeleteTask, domain.Own)}}, 201},
		"not granted":   {object{"name": "x", "expires_at": tomorrow, "grants": []domain.Grant{grant(domain.ReadAudit, domain.All)}}, 403},
		"no such scope": {object{"name": "x", "expires_at": tomorrow, "grants": []domain.Grant{grant(domain.ReadWorkspace, domain.Own)}}, 422},
		"no permission": {object{"name": "x", "expires_at": tomorrow, "grants": []domain.Grant{{Resource: "task", Action: "explode", Scope: domain.All}}}, 422},
		"nothing":       {object{"name": "x", "expires_at": tomorrow, "grants": []domain.Grant{grant(domain.ReadTask, domain.None)}}, 201},
		"twice":         {object{"name": "x", "expires_at": tomorrow, "grants": []domain.Grant{grant(domain.ReadTask, domain.Own), grant(domain.ReadTask, domain.All)}}, 422},
		"no grants":     {object{"name": "x", "expires_at": tomorrow, "grants": []domain.Grant{}}, 201},
		"a member_id":   {object{"name": "x", "expires_at": tomorrow, "member_id": ada.id}, 422},
	} {
		if a := bob.call(t, "POST", "/api/tokens", c.body); a.status != c.status {
			t.Errorf("%s: status %d, not %d: %s", name, a.status, c.status, a.body)
		} else if strings.Contains(string(a.body), "explode") {
			t.Errorf("%s: it is echoed: %s", name, a.body)
		}
	}

	token, made := bob.newToken(t)
	if err := p.db.Do(t.Context(), bob.workspace, pg.Exec(`update token_secret set expires_at = now() where token_id = $1`, made.ID)); err != nil {
		t.Fatal(err)
	}
	token.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")

	// What is no token of ours is refused without the database.
	good, _ := bob.newToken(t)
	text := []byte(good.token)
	bad := map[string]string{"cut off": string(text[:len(text)-1]), "of another kind": "kls_" + string(text[4:]), "prefix only": "klp_"}
	text[40] ^= 1
	bad["a digit changed"] = string(text)
	p.db.Close()
	for name, text := range bad {
		if a := bob.as(text).call(t, "GET", "/api/me", nil); a.status != 401 {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
}

// A replay that follows ends when its token does.
func TestTokenEndsWhatItFollows(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)[0]
	ada := p.signUp(t)
	token, made := ada.newToken(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := token.request(t, "GET", "/api/audit/replay?follow=true", nil).WithContext(ctx)
	response, err := wire.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	ada.call(t, "DELETE", "/api/tokens/"+made.ID.String(), nil).want(t, 204)
	for decoder := json.NewDecoder(response.Body); ; {
		var line json.RawMessage
		if err := decoder.Decode(&line); err != nil {
			if ctx.Err() != nil {
				t.Error("still following")
			}
			return
		}
	}
}

// A body that is held back until the session has ended does nothing.
func TestHeldBodies(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	for _, c := range []struct {
		path string
		body object
	}{{"/api/tokens", object{"name": "x", "expires_at": tomorrow}}, {"/api/tasks", object{"title": "x"}}} {
		thief := ada.as(decode[struct{ Token string }](t, ada.logIn(t, ada.password).want(t, 200)).Token)
		head, tail := io.Pipe()
		r := thief.request(t, "POST", c.path, c.body)
		text, _ := io.ReadAll(r.Body)
		r.Body, r.ContentLength = head, int64(len(text))
		answered := make(chan reply)
		go func() { answered <- thief.answer(t, r) }()
		_, _ = tail.Write(text[:5])
		time.Sleep(100 * time.Millisecond) // so that the headers are there and the session was found good
		thief.on(p[1]).call(t, "POST", "/api/logout", nil).want(t, 204)
		before := ada.head(t)
		_, _ = tail.Write(text[5:])
		_ = tail.Close()
		(<-answered).problem(t, 401, "unauthenticated")
		if ada.head(t) != before {
			t.Errorf("POST %s did something", c.path)
		}
	}
}

// The log says with which token something was done, and nothing of the kind about a session. It still says so of an erased member.
func TestTheLogNamesTheToken(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	script, token := bob.newToken(t)
	bySession, byToken := bob.newTask(t), script.newTask(t)
	wantTokens := func() {
		t.Helper()
		for thing, want := range map[uuid.UUID]uuid.UUID{bySession.ID: uuid.Nil, byToken.ID: token.ID} {
			read := pages[entry](t, ada, "/api/audit/events?type=task.created&id="+thing.String(), 50)
			if len(read) != 1 || read[0].Meta.TokenID != want {
				t.Errorf("want token %s: %+v", want, read)
			}
		}
	}
	wantTokens()
	for _, r := range ada.log(t) {
		var meta struct {
			TokenID string `json:"token_id"`
		}
		if r.Type != "task.created" {
			continue
		}
		if err := json.Unmarshal(r.Meta, &meta); err != nil {
			t.Fatal(err)
		}
		if want := (map[bool]string{true: token.ID.String()})[r.Stream == domain.TaskStream(byToken.ID)]; meta.TokenID != want {
			t.Errorf("%s has token %q, want %q", r.AppendLine(nil), meta.TokenID, want)
		}
	}
	ada.call(t, "DELETE", "/api/members/"+bob.id.String(), nil).want(t, 204)
	ada.call(t, "POST", "/api/members/"+bob.id.String()+"/erase", nil).want(t, 200)
	wantTokens()
}
