package promises

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

func TestInvitationCode(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	invite := func() (*client, string) {
		m := ada.invite(t, "member")
		return m, ada.invitationCode(t, m)
	}
	four, code := invite()
	var refused string
	for n := range 4 {
		refused = four.accept(t, wrong(code, n), four.password).want(t, 422).sameBytes(t)
	}
	four.enter(t, four.accept(t, code, four.password).want(t, 201))
	codes := map[*client]string{four: code} // used
	five, code := invite()
	for n := range 5 {
		five.accept(t, wrong(code, n), five.password).problem(t, 422, "bad_code")
	}
	codes[five] = code
	expired, code := invite()
	codes[expired] = code
	if err := ada.db.Do(t.Context(), ada.workspace, pg.Exec(`update invitation set expires_at = now() where member_id = $1`, expired.id)); err != nil {
		t.Fatal(err)
	}
	takenBack, code := invite()
	codes[takenBack] = code
	ada.call(t, "DELETE", "/api/members/"+takenBack.id.String(), nil).want(t, 204)
	stranger, nowhere := *four, *four
	stranger.email, nowhere.slug = "nobody@people.example", "no-such-workspace"
	codes[&stranger], codes[&nowhere] = code, code
	for c, code := range codes {
		for i := range p {
			if got := c.on(p[i]).accept(t, code, c.password); got.sameBytes(t) != refused {
				t.Errorf("%s of %s: %d %s", c.email, c.slug, got.status, got.body)
			}
		}
	}
	for _, c := range []*client{five, expired, takenBack} {
		c.logIn(t, c.password).problem(t, 401, "bad_credentials")
	}
	again := ada.call(t, "POST", "/api/members", object{"email": takenBack.email, "full_name": "n", "role": "viewer"}).want(t, 201)
	renewed := *takenBack
	renewed.id = decode[member](t, again).ID
	renewed.accept(t, codes[takenBack], newPassword()).problem(t, 422, "bad_code") // the code that was taken back
	renewed.enter(t, renewed.accept(t, ada.invitationCode(t, &renewed), renewed.password).want(t, 201))
}

// Of 20 right codes at once one is right: its password is the one that counts.
func TestInvitationCodeInParallel(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	rounds := 5
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		m := ada.invite(t, "member")
		code := ada.invitationCode(t, m)
		passwords, answers := make([]string, 20), make([]reply, 20)
		for i := range passwords {
			passwords[i] = newPassword()
		}
		parallel(len(answers), func(i int) { answers[i] = m.on(p[i%2]).accept(t, code, passwords[i]) })
		admitted := 0
		for i, a := range answers {
			if a.status == 201 {
				admitted++
				if got := m.logIn(t, passwords[i]); got.status != 200 {
					t.Errorf("let in with a password that does not count: %d %s", got.status, got.body)
				}
			} else if a.status == 429 { // beside the one that has the claim
				a.problem(t, 429, "attempts_under_way")
				if a.header.Get("Retry-After") == "" {
					t.Errorf("no Retry-After: %s", a.body)
				}
			} else if a.status != 422 && a.status != 409 {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		if late := m.accept(t, code, passwords[0]); late.status != 422 { // and behind it the code is a used one
			t.Errorf("accepted once more: %d %s", late.status, late.body)
		}
		if admitted != 1 {
			t.Errorf("%d of 20 were let in", admitted)
		}
	}
	if n := ada.count(t, "member.joined"); n != rounds {
		t.Errorf("%d joined of %d", n, rounds)
	}
}

// Login says the same, whatever is wrong.
func TestLoginSaysTheSame(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	wrongOne := ada.logIn(t, newPassword()).want(t, 401)
	wrongOne.problem(t, 401, "bad_credentials")
	off, gone, invited := ada.member(t, "member"), ada.member(t, "member"), ada.invite(t, "member")
	ada.call(t, "POST", "/api/members/"+off.id.String()+"/deactivate", nil).want(t, 200)
	ada.call(t, "DELETE", "/api/members/"+gone.id.String(), nil).want(t, 204)
	stranger, nowhere, nobody := *ada, *ada, *ada
	stranger.email, nowhere.slug, nobody.email = "nobody@people.example", "no-such-workspace", "no address"
	for name, c := range map[string]*client{"deactivated": off, "removed": gone, "invited": invited, "unknown address": &stranger, "unknown workspace": &nowhere, "no address": &nobody} {
		for i := range p {
			if got := c.on(p[i]).logIn(t, c.password); got.sameBytes(t) != wrongOne.sameBytes(t) {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	}
	upper := *ada
	upper.email = strings.ToUpper(ada.email)
	upper.logIn(t, ada.password).want(t, 200)
	ada.call(t, "POST", "/api/members/"+off.id.String()+"/reactivate", nil).want(t, 200)
	off.on(p[1]).logIn(t, off.password).want(t, 200)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	another := func() (*client, uuid.UUID) {
		t.Helper()
		c := ada.as(decode[admitted](t, ada.logIn(t, ada.password).want(t, 200)).Token)
		for _, s := range sessions(t, c) {
			if s.Current {
				return c, s.ID
			}
		}
		t.Fatal("no session is the current one")
		return nil, uuid.Nil
	}
	second, id := another()
	if got := sessions(t, ada); len(got) != 2 || got[0].Current || !got[1].Current || got[0].ID != id {
		t.Errorf("%+v", got)
	}
	bob.call(t, "DELETE", "/api/sessions/"+id.String(), nil).problem(t, 404, "session_not_found")
	ada.call(t, "DELETE", "/api/sessions/"+uuid.NewString(), nil).problem(t, 404, "session_not_found")
	second.call(t, "GET", "/api/me", nil).want(t, 200)
	ada.on(p[1]).call(t, "DELETE", "/api/sessions/"+id.String(), nil).want(t, 204)
	for i := range p {
		second.on(p[i]).call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	}
	ada.call(t, "DELETE", "/api/sessions/"+id.String(), nil).problem(t, 404, "session_not_found")
	for _, old := range []string{`update session set expires_at = now() where id <> $1`, `update session set used_at = now() - interval '12 hours 1 second' where id <> $1`} {
		c, _ := another()
		ada.execSQL(t, old)
		c.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
		if n := len(sessions(t, ada)); n != 1 {
			t.Errorf("%d sessions are listed", n)
		}
		bob.token = decode[admitted](t, bob.logIn(t, bob.password).want(t, 200)).Token // it was his too
	}
	third, _ := another()
	third.call(t, "POST", "/api/logout", nil).want(t, 204)
	third.on(p[1]).call(t, "POST", "/api/tasks", object{"title": "x"}).problem(t, 401, "unauthenticated")
	third.call(t, "POST", "/api/logout", nil).problem(t, 401, "unauthenticated")
	ada.call(t, "GET", "/api/me", nil).want(t, 200)
}

func sessions(t tester, c *client) []session {
	t.Helper()
	a := c.call(t, "GET", "/api/sessions", nil).want(t, 200)
	if strings.Contains(string(a.body), "kls_") {
		t.Errorf("a token is listed: %s", a.body)
	}
	return decode[list[session]](t, a).Items
}

func TestMe(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "viewer")
	for _, role := range domain.BuiltInRoles {
		ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": role.Name}).want(t, 200)
		a := bob.on(p[1]).call(t, "GET", "/api/me", nil).want(t, 200)
		got := decode[struct {
			Member    member
			Role      domain.Role
			Grants    domain.Grants
			Workspace struct{ Slug, Plan string }
		}](t, a)
		if got.Member.ID != bob.id || got.Member.Email != bob.email || got.Member.FullName != bob.name || got.Member.Role != role.Name ||
			got.Role.Name != role.Name || fmt.Sprint(got.Grants) != fmt.Sprint(role.Grants) || got.Workspace.Slug != ada.slug || got.Workspace.Plan != "free" {
			t.Errorf("%s: %s", role.Name, a.body)
		}
	}
}
