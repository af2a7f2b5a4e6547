package promises

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// control runs a statement on the control schema, and gives the one number that it returns.
func (p *process) control(t tester, sql string, args ...any) (n int) {
	t.Helper()
	if err := p.db.Pool().QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// applicant is somebody who has asked for a workspace and got the code.
type applicant struct {
	*client
	signup uuid.UUID
	code   string
}

func (p *process) applicant(t tester) *applicant {
	t.Helper()
	slug := "w" + uuid.NewString()[:13]
	c := &client{process: p, slug: slug, email: "ada@" + slug + ".example", name: "Ada of " + slug, password: newPassword()}
	id := c.askForWorkspace(t)
	return &applicant{c, id, p.code(t, "signup_code", c.email)}
}

func (a *applicant) verify(t tester, code string) reply {
	t.Helper()
	return a.call(t, "POST", "/api/signup/verify", object{"signup_id": a.signup, "code": code})
}

// wrong is the n-th code that is not the right one.
func wrong(code string, n int) string {
	var number int
	_, _ = fmt.Sscanf(code, "%d", &number)
	return fmt.Sprintf("%06d", (number+1+n)%1_000_000)
}

func TestSignupCode(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	made := func(a *applicant) int {
		return p[0].control(t, `select count(*) from kluis.workspace where slug = $1`, a.slug)
	}
	four := p[0].applicant(t)
	var refused string
	for n := range 4 {
		refused = four.verify(t, wrong(four.code, n)).want(t, 422).sameBytes(t)
	}
	four.enter(t, four.verify(t, four.code).want(t, 201))
	five := p[0].applicant(t)
	for n := range 5 {
		five.verify(t, wrong(five.code, n)).problem(t, 422, "bad_code")
	}
	expired := p[0].applicant(t)
	p[0].control(t, `with x as (update kluis.signup set expires_at = now() where id = $1 returning 1) select count(*) from x`, expired.signup)
	unknown := &applicant{p[0].public(), uuid.New(), "123456"}
	for name, a := range map[string]*applicant{"five wrong ones before": five, "expired": expired, "unknown": unknown, "used": four} {
		if got := a.verify(t, a.code); got.sameBytes(t) != refused {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if made(four) != 1 || made(five) != 0 || made(expired) != 0 {
		t.Error("workspaces were made of refused codes, or none of a right one")
	}
	one, other := p[0].applicant(t), p[0].applicant(t)
	if one.code != other.code {
		one.verify(t, other.code).problem(t, 422, "bad_code")
	}
	for _, code := range []any{"", "12345", "1234567", "12345a", " 12345", "１２３４５６", 123456, "-12345"} {
		other.call(t, "POST", "/api/signup/verify", object{"signup_id": other.signup, "code": code}).want(t, 422)
	}
	other.verify(t, other.code).want(t, 201) // none of those counted
}

// Of 20 right codes at once one is right, and of 100 wrong ones five are looked at.
func TestSignupCodeInParallel(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	at := func(a *applicant, i int) *applicant { return &applicant{a.on(p[i%2]), a.signup, a.code} }
	for range 3 {
		a := p[0].applicant(t)
		answers := make([]reply, 20)
		parallel(len(answers), func(i int) { answers[i] = at(a, i).verify(t, a.code) })
		admitted := 0
		for _, r := range answers {
			if r.status == 201 {
				admitted++
				a.enter(t, r)
			} else if r.status != 422 && r.status != 409 {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		if admitted != 1 {
			t.Errorf("%d of 20 were let in", admitted)
		}
		a.call(t, "GET", "/api/me", nil).want(t, 200)
	}
	guessed := p[0].applicant(t)
	parallel(100, func(i int) { at(guessed, i).verify(t, wrong(guessed.code, i)).problem(t, 422, "bad_code") })
	if n := p[0].control(t, `select attempts from kluis.signup where id = $1`, guessed.signup); n != 5 {
		t.Errorf("%d attempts were counted", n)
	}
	guessed.verify(t, guessed.code).problem(t, 422, "bad_code")
}

func TestTakenSlug(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	first := p[0].applicant(t)
	second := &applicant{client: first.on(p[1])}
	second.client.email, second.client.password = "second@people.example", newPassword()
	second.signup = second.askForWorkspace(t)
	second.code = p[1].code(t, "signup_code", second.email)
	answers := make([]reply, 2)
	parallel(2, func(i int) { a := []*applicant{first, second}[i]; answers[i] = a.verify(t, a.code) })
	if answers[0].status+answers[1].status != 201+409 {
		t.Fatalf("%s; %s", answers[0].body, answers[1].body)
	}
	for i, a := range answers {
		if a.status == 409 {
			first.taken(t, a)
		} else {
			[]*applicant{first, second}[i].enter(t, a)
		}
	}
	first.taken(t, first.call(t, "POST", "/api/signup", first.wish()))
	for _, slug := range []string{"ab", "-abc", "abc-", "Abc", "a_c", "a.c", "ä-ö", strings.Repeat("a", 64), "abc ", ""} {
		w := first.wish()
		w["workspace"] = object{"slug": slug, "name": "n"}
		first.call(t, "POST", "/api/signup", w).refusedAs(t, "slug "+slug, 422, "/workspace/slug")
	}
	w := first.wish()
	w["workspace"], w["region"] = object{"slug": "somewhere-else", "name": "n"}, "us"
	first.call(t, "POST", "/api/signup", w).refusedAs(t, "region us", 422, "/region")
}

// taken checks that a workspace name is refused, without repeating it.
func (a *applicant) taken(t tester, r reply) {
	t.Helper()
	r.problem(t, 409, "slug_taken")
	if strings.Contains(string(r.body), a.slug) {
		t.Errorf("it is echoed: %s", r.body)
	}
}

func TestWeakPasswords(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	eve := ada.invite(t, "member")
	code := ada.invitationCode(t, eve)
	before := ada.stored(t)
	local, _, _ := strings.Cut(eve.email, "@")
	for _, weak := range []string{"password", "Password1", "12345678", "qwertyuiop", "short", strings.Repeat("é", 7), strings.Repeat("x", 1025), eve.slug, "my" + eve.slug,
		local + "1", strings.ToUpper(local)} {
		eve.accept(t, code, weak).refusedAs(t, "accept with "+weak, 422, "/password")
		w := eve.wish()
		w["workspace"] = object{"slug": eve.slug + "x", "name": "n"}
		w["password"] = strings.ReplaceAll(weak, eve.slug, eve.slug+"x")
		eve.call(t, "POST", "/api/signup", w).refusedAs(t, "sign up with "+weak, 422, "/password")
	}
	if after := ada.stored(t); after != before {
		t.Errorf("something is stored: %s, and before %s", after, before)
	}
	for i, strong := range []string{"pässwörter sind schön", "😀😃😄😁😆😅😂🤣", strings.Repeat("xY7 ", 60)} {
		c := eve
		if i > 0 {
			c = ada.invite(t, "member")
			code = ada.invitationCode(t, c)
		}
		c.enter(t, c.accept(t, code, strong).want(t, 201))
		c.logIn(t, strong).want(t, 200)
	}
}
