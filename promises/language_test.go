package promises

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

func (c *client) me(t tester) member {
	t.Helper()
	return decode[struct{ Member member }](t, c.call(t, "GET", "/api/me", nil).want(t, 200)).Member
}

// Everybody chooses the language of the mails to them, whatever their role, and invites in their own unless they say
// otherwise. That the mails heed it shows cmd/kluis/mail_test.go.
func TestLanguage(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	if got := ada.me(t).Language; got != "en" {
		t.Errorf("who chose none has %q", got)
	}
	for i, role := range []string{"member", "viewer", "auditor", "analyst", "manager"} {
		bob := ada.member(t, role)
		tag := ada.on(p[1]).call(t, "GET", "/api/members/"+bob.id.String(), nil).want(t, 200).header.Get("ETag")
		a := bob.call(t, "PATCH", "/api/me", object{"language": "fr"}, "If-Match: "+tag, "Idempotency-Key: k").want(t, 200)
		if m := decode[member](t, a); m.ID != bob.id || m.Language != "fr" || m.Role != role || a.header.Get("ETag") == tag {
			t.Errorf("%s: %s", role, a.body)
		}
		bob.call(t, "PATCH", "/api/me", object{"language": "nl"}, "If-Match: "+tag).problem(t, 412, "stale")
		if got := bob.on(p[1]).me(t).Language; got != "fr" {
			t.Errorf("%s: then it is %q", role, got)
		}
		head := ada.head(t)
		bob.call(t, "PATCH", "/api/me", object{"language": "fr"}).want(t, 200)
		token, _ := bob.newToken(t)
		head++ // for the token
		token.call(t, "PATCH", "/api/me", object{"language": "nl"}).problem(t, 403, "session_required")
		if ada.head(t) != head {
			t.Errorf("%s: what changes nothing is in the log", role)
		}
		if n := ada.count(t, "member.language_changed"); n != i+1 {
			t.Errorf("%d changes", n)
		}
	}
	for _, language := range []any{"", "de", "FR", "fr-BE", nil, 1, []string{"fr"}} {
		ada.call(t, "PATCH", "/api/me", object{"language": language}).want(t, 422)
	}
	ada.call(t, "PATCH", "/api/me", object{"language": "nl"}).want(t, 200)
	for want, language := range map[string]string{"nl": "", "en": "en", "fr": "fr"} {
		wish := object{"email": uuid.NewString() + "@people.example", "full_name": "n", "role": "member"}
		if language != "" {
			wish["language"] = language
		}
		if m := decode[member](t, ada.call(t, "POST", "/api/members", wish).want(t, 201)); m.Language != want {
			t.Errorf("invited with %q: %q", language, m.Language)
		}
	}
	dutch := p[0].public()
	dutch.slug, dutch.email, dutch.name, dutch.password = "w"+uuid.NewString()[:13], "an@people.example", "An", newPassword()
	wish := dutch.wish()
	wish["language"] = "nl"
	id := decode[struct {
		SignupID uuid.UUID `json:"signup_id"`
	}](t, dutch.call(t, "POST", "/api/signup", wish).want(t, 202)).SignupID
	dutch.enter(t, dutch.call(t, "POST", "/api/signup/verify", object{"signup_id": id, "code": p[0].code(t, "signup_code", dutch.email)}).want(t, 201))
	if got := dutch.me(t).Language; got != "nl" {
		t.Errorf("signed up in Dutch: %q", got)
	}
	ada.noDrift(t)
	dutch.noDrift(t)
}

// A member of before there were languages, whose events have none, reads English.
func TestLanguageOfOldEvents(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	old := uuid.Must(uuid.NewV7())
	data := `{"member_id":"` + old.String() + `","email":"x","full_name":"x","role":"member"}`
	if _, err := p.store.Append(t.Context(), ada.workspace, eventstore.Append{Writes: []eventstore.Write{{Stream: domain.RosterStream, Expected: 1,
		Events: []eventstore.Event{{Type: "member.invited", Data: []byte(data)}}}}}); err != nil {
		t.Fatal(err)
	}
	m, _, err := projections.Members.Get(t.Context(), p.projections, must(p.commands.Authenticate(t.Context(), ada.token)), old)
	if err != nil || m.Language != "en" {
		t.Errorf("%+v, %v", m, err)
	}
	ada.noDrift(t)
	for _, r := range ada.log(t) {
		if strings.Contains(string(r.Data), `"language"`) != (r.Type == "member.added") {
			t.Errorf("%s", r.AppendLine(nil))
		}
	}
}
