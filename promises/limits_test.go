package promises

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/limit"
)

// newLimited makes processes on one database that limit as these entries of KLUIS_LIMITS say.
func newLimited(t *testing.T, n int, entries ...string) []*process {
	t.Helper()
	processes := newProcesses(t, n, false)
	for _, p := range processes {
		p.commands.Limits = must(limit.Open(context.Background(), p.db, p.keys, must(limit.Parse(entries)), slog.New(slog.DiscardHandler)))
		t.Cleanup(p.commands.Wait)
	}
	return processes
}

// forged are the headers with which somebody says to be somebody else. Nobody here is a trusted proxy.
func forged(i int) []string {
	address := fmt.Sprintf("198.51.100.%d", i%250)
	return []string{"X-Forwarded-For: " + address + ", 203.0.113.9", "Forwarded: for=" + address, "X-Real-IP: " + address,
		"CF-Connecting-IP: " + address, "True-Client-IP: " + address, "X-Client-IP: " + address}
}

// limited checks a 429 and gives the seconds to wait.
func limited(t *testing.T, a reply, code string) int {
	t.Helper()
	a.problem(t, 429, code)
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		t.Errorf("%s: Retry-After %q", a.what, a.header.Get("Retry-After"))
	}
	return seconds
}

func (p *process) wishFor(email string) (*client, object) {
	slug := "w" + uuid.NewString()[:13]
	c := &client{process: p, slug: slug, email: email, name: "Ada of " + slug, password: newPassword()}
	return c, c.wish()
}

// 50 sign-ups at once from one address, at two processes, whatever they say in headers: 5 get through.
func TestLimitsOfSignUps(t *testing.T) {
	t.Parallel()
	processes := newLimited(t, 2)
	status := make([]int, 50)
	parallel(50, func(i int) {
		c, wish := processes[i%2].wishFor(uuid.NewString() + "@" + uuid.NewString() + ".example")
		status[i] = c.call(t, "POST", "/api/signup", wish, forged(i)...).status
	})
	slices.Sort(status)
	if want := append(slices.Repeat([]int{202}, 5), slices.Repeat([]int{429}, 45)...); !slices.Equal(status, want) {
		t.Errorf("%v", status)
	}
	c, wish := processes[0].wishFor("ada@somewhere.example")
	if wait := limited(t, c.call(t, "POST", "/api/signup", wish), "too_many_requests"); wait < 3500 || wait > 3600 {
		t.Errorf("wait %d s", wait)
	}
}

// All addresses of an organisation are one; those of free-mail domains are many. What is refused for another reason
// does not count.
func TestLimitsOfDomains(t *testing.T) {
	t.Parallel()
	processes := newLimited(t, 2, "signup_ip=off")
	same := []string{"ada@bücher.example", "Ada@BÜCHER.example", "b+1@xn--bcher-kva.example", "b+2@mail.bücher.example"}
	status := make([]int, 40)
	parallel(40, func(i int) {
		c, wish := processes[i%2].wishFor(strconv.Itoa(i) + same[i%len(same)])
		if i%8 == 7 {
			wish["password"] = "password1"
		}
		status[i] = c.call(t, "POST", "/api/signup", wish).status
	})
	slices.Sort(status)
	if want := slices.Concat(slices.Repeat([]int{202}, 10), slices.Repeat([]int{422}, 5), slices.Repeat([]int{429}, 25)); !slices.Equal(status, want) {
		t.Errorf("%v", status)
	}
	for i := range 12 {
		c, wish := processes[0].wishFor(fmt.Sprintf("%s@%s", uuid.NewString(), []string{"gmail.com", "skynet.be", "Proton.me"}[i%3]))
		c.call(t, "POST", "/api/signup", wish).want(t, 202)
	}
	for i := range 11 {
		c, wish := processes[0].wishFor(fmt.Sprintf("one.mailbox+%d@gmail.com", i))
		if a := c.call(t, "POST", "/api/signup", wish); i == 10 {
			limited(t, a, "too_many_requests")
		} else {
			a.want(t, 202)
		}
	}
}

// suspects are accounts of all kinds that somebody may try to log in to, besides an active one.
func suspects(t *testing.T, ada *client) map[string]*client {
	t.Helper()
	active, out := ada.member(t, "member"), ada.member(t, "member")
	ada.call(t, "POST", "/api/members/"+out.id.String()+"/deactivate", nil).want(t, 200)
	return map[string]*client{
		"active": active, "deactivated": out, "invited": ada.invite(t, "member"),
		"unknown":      {process: ada.process, slug: ada.slug, email: uuid.NewString() + "@people.example"},
		"no workspace": {process: ada.process, slug: "not-" + ada.slug, email: active.email},
		"no address":   {process: ada.process, slug: ada.slug, email: "not an address"},
	}
}

// Whatever the account, the same attempts get the same answers, from the first to the one behind the lock.
func TestSameAnswers(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1, "signup_ip=off", "login_ip=off")[0]
	ada := p.signUp(t)
	answers := map[string][]string{}
	for who, c := range suspects(t, ada) {
		var got []string
		wait := 0
		for i := range 8 {
			a := c.logIn(t, "a wrong password "+strconv.Itoa(i))
			if a.status == 429 {
				wait = limited(t, a, "locked")
				a.header.Set("Retry-After", "some") // a second may pass between two answers
			}
			got = append(got, a.sameBytes(t))
		}
		if wait < 890 || wait > 900 {
			t.Errorf("%s: wait %d s", who, wait)
		}
		for range 7 {
			a := c.process.public().call(t, "POST", "/api/password/forgot", object{"workspace": c.slug, "email": c.email}).want(t, 202)
			got = append(got, a.sameBytes(t))
		}
		p.commands.Wait()
		for range 7 {
			a := c.process.public().call(t, "POST", "/api/password/reset",
				object{"workspace": c.slug, "email": c.email, "code": "000000", "password": newPassword()})
			a.problem(t, 422, "bad_code") // one in a million times it is the code
			got = append(got, a.sameBytes(t))
		}
		for range 7 {
			a := c.accept(t, "000000", newPassword())
			a.problem(t, 422, "bad_code")
			got = append(got, a.sameBytes(t))
		}
		answers[who] = got
	}
	for who, got := range answers {
		for i, answer := range got {
			if answer != answers["active"][i] {
				t.Errorf("answer %d to %s is\n%s\nto an active member\n%s", i+1, who, answer, answers["active"][i])
			}
		}
	}
}

// And they take the same time, as far as medians on a busy machine tell: a hash that is left out, or a mail that is
// waited for, would show. A real difference shows each time, so one good measurement of some is enough.
func TestSameWork(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1, "signup_ip=off", "login_ip=off", "login_account=off", "login_day=off", "login_run=off", "code_run=off",
		"forgot_ip=off", "reset_account=off", "reset_account_day=off")[0]
	ada := p.signUp(t)
	people := suspects(t, ada)
	for what, ask := range map[string]func(c *client){
		"login": func(c *client) { c.logIn(t, "a wrong password").want(t, 401) },
		"forgot": func(c *client) {
			p.public().call(t, "POST", "/api/password/forgot", object{"workspace": c.slug, "email": c.email}).want(t, 202)
		},
		"reset": func(c *client) {
			p.public().call(t, "POST", "/api/password/reset",
				object{"workspace": c.slug, "email": c.email, "code": "x", "password": newPassword()}).want(t, 422)
		},
		"accept": func(c *client) { c.accept(t, "000000", newPassword()).want(t, 422) },
	} {
		var told string
		for range 10 {
			if told = p.compare(people, ask); told == "" {
				break
			}
		}
		if told != "" {
			t.Errorf("%s: %s", what, told)
		}
	}
}

// compare gives the difference between medians of interleaved samples; "" when there is none to speak of.
func (p *process) compare(people map[string]*client, ask func(*client)) string {
	const samples = 9
	took := map[string][]time.Duration{}
	for range samples {
		for who, c := range people { // in another order each time
			begun := time.Now()
			ask(c)
			took[who] = append(took[who], time.Since(begun))
			p.commands.Wait() // what goes on behind an answer is nothing that the caller sees, nor the next one
		}
	}
	median := func(who string) time.Duration {
		slices.Sort(took[who])
		return took[who][samples/2]
	}
	base := median("active")
	var differ []string
	for who := range people {
		if m := median(who); m < base*6/10-2*time.Millisecond || m > base*16/10+2*time.Millisecond {
			differ = append(differ, fmt.Sprintf("%s takes %s, active %s", who, m, base))
		}
	}
	return strings.Join(differ, "; ")
}

// 50 wrong logins at once at two processes: 5 are compared, the rest is told to wait. Headers make no difference, to
// the account's limit nor to the address'.
func TestLimitsOfLogins(t *testing.T) {
	t.Parallel()
	processes := newLimited(t, 2, "signup_ip=off")
	ada := processes[0].signUp(t)
	status := make([]int, 50)
	parallel(50, func(i int) {
		status[i] = processes[i%2].public().call(t, "POST", "/api/login",
			object{"workspace": ada.slug, "email": ada.email, "password": "wrong " + strconv.Itoa(i)}, forged(i)...).status
	})
	slices.Sort(status)
	if want := append(slices.Repeat([]int{401}, 5), slices.Repeat([]int{429}, 45)...); !slices.Equal(status, want) {
		t.Errorf("%v", status)
	}
	wait := limited(t, ada.logIn(t, ada.password), "locked")
	for range 3 {
		if again := limited(t, ada.logIn(t, "wrong"), "locked"); again > wait {
			t.Errorf("the lock grew from %d to %d s", wait, again)
		}
	}
	for i := range 15 {
		processes[i%2].public().call(t, "POST", "/api/login",
			object{"workspace": ada.slug, "email": fmt.Sprint("x", i, "@people.example"), "password": "wrong"}, forged(i)...).want(t, 401)
	}
	a := processes[0].public().call(t, "POST", "/api/login", object{"workspace": ada.slug, "email": "y@people.example", "password": "wrong"}, forged(77)...)
	limited(t, a, "too_many_requests")
	ada.call(t, "GET", "/api/me", nil).want(t, 200) // who is in stays in
}

func TestUnlockMember(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1, "signup_ip=off")[0]
	ada := p.signUp(t)
	grace, viewer := ada.member(t, "member"), ada.member(t, "viewer")
	for range 5 {
		grace.logIn(t, "wrong").want(t, 401)
	}
	limited(t, grace.logIn(t, grace.password), "locked")
	unlock := "/api/members/" + grace.id.String() + "/unlock"
	grace.call(t, "POST", unlock, nil).problem(t, 403, "forbidden")
	viewer.call(t, "POST", unlock, nil).problem(t, 403, "forbidden")
	p.public().call(t, "POST", unlock, nil).problem(t, 401, "unauthenticated")
	p.signUp(t).call(t, "POST", unlock, nil).problem(t, 404, "member_not_found")
	ada.call(t, "POST", unlock, nil, `If-Match: "1"`).problem(t, 412, "stale")
	a := ada.call(t, "POST", unlock, nil).want(t, 200)
	if m := decode[member](t, a); m.ID != grace.id || m.Status != "active" || a.position(t) == 0 {
		t.Errorf("%s", a.body)
	}
	grace.enter(t, grace.logIn(t, grace.password).want(t, 200))
	key := "Idempotency-Key: k"
	for range 5 {
		grace.logIn(t, "wrong").want(t, 401)
	}
	a = ada.call(t, "POST", unlock, nil, key).want(t, 200)
	for range 5 {
		grace.logIn(t, "wrong").want(t, 401)
	}
	if again := ada.call(t, "POST", unlock, nil, key); again.essence() != a.essence() {
		t.Errorf("answered %s and later %s", a.essence(), again.essence())
	}
	limited(t, grace.logIn(t, grace.password), "locked") // the repeat ends no lock that was made since
	ada.call(t, "POST", unlock, nil).want(t, 200)
	p.commands.Wait()
	position := ada.call(t, "POST", unlock, nil).want(t, 200).position(t)
	if again := ada.call(t, "POST", unlock, nil).want(t, 200).position(t); again != position {
		t.Error("unlocking one that is not locked is an event")
	}
}

// The whole way of a forgotten password, over HTTP.
func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	processes := newLimited(t, 2, "signup_ip=off", "login_ip=off")
	p := processes[0]
	ada := p.signUp(t)
	other := ada.on(processes[1])
	second := decode[admitted](t, ada.logIn(t, ada.password).want(t, 200)).Token
	p.public().call(t, "POST", "/api/password/forgot", object{"workspace": ada.slug, "email": strings.ToUpper(ada.email)}).want(t, 202)
	code := p.code(t, "reset_code", ada.email)
	fresh := newPassword()
	reset := func(c *client, code any, password string) reply {
		return c.process.public().call(t, "POST", "/api/password/reset", object{"workspace": ada.slug, "email": ada.email, "code": code, "password": password})
	}
	for _, malformed := range []any{"", "12345", "1234567", code + " ", " " + code, code + "\n", code[:3] + " " + code[3:], "12345a", "１２３４５６", "٠١٢٣٤٥",
		"१२३४५६", "-12345", "+12345", "1e5000", 123456, nil} {
		reset(ada, malformed, fresh).problem(t, 422, "invalid")
	}
	reset(ada, code, "password1").problem(t, 422, "invalid")
	status := make([]int, 20)
	parallel(20, func(i int) { status[i] = reset([]*client{ada, other}[i%2], code, fresh).status })
	slices.Sort(status)
	if want := append([]int{204}, slices.Repeat([]int{422}, 19)...); !slices.Equal(status, want) {
		t.Errorf("%v", status)
	}
	for _, c := range []*client{ada, ada.as(second), other, other.as(second)} {
		c.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	}
	ada.logIn(t, ada.password).problem(t, 401, "bad_credentials")
	ada.enter(t, ada.logIn(t, fresh).want(t, 200))
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1, "signup_ip=off")[0]
	ada := p.signUp(t)
	second := decode[admitted](t, ada.logIn(t, ada.password).want(t, 200)).Token
	change := func(current, password string) reply {
		return ada.call(t, "POST", "/api/password/change", object{"current": current, "password": password})
	}
	change("wrong", newPassword()).problem(t, 422, "invalid")
	change(ada.password, "12345678").problem(t, 422, "invalid")
	change(ada.password, ada.slug).problem(t, 422, "invalid")
	fresh := newPassword()
	change(ada.password, fresh).want(t, 204)
	ada.call(t, "GET", "/api/me", nil).want(t, 200)
	ada.as(second).call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	ada.logIn(t, fresh).want(t, 200)
	p.public().call(t, "POST", "/api/password/change", object{"current": fresh, "password": newPassword()}).problem(t, 401, "unauthenticated")
}

// A member has so many requests in a window, over all sessions; others have theirs.
func TestLimitsOfMembers(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1, "signup_ip=off", "api_member=20/1h")[0]
	ada := p.signUp(t)
	grace := ada.member(t, "member") // costs one request
	second := ada.as(decode[admitted](t, ada.logIn(t, ada.password).want(t, 200)).Token)
	status := make([]int, 60)
	parallel(60, func(i int) {
		status[i] = []*client{ada, second}[i%2].call(t, "GET", "/api/me", nil, forged(i)...).status
	})
	slices.Sort(status)
	if want := append(slices.Repeat([]int{200}, 19), slices.Repeat([]int{429}, 41)...); !slices.Equal(status, want) {
		t.Errorf("%v", status)
	}
	if wait := limited(t, ada.call(t, "GET", "/api/tasks", nil), "too_many_requests"); wait > 3600 {
		t.Errorf("wait %d s", wait)
	}
	for c, left := range map[*client]string{ada: `"api_member";r=0;t=`, grace: `"api_member";r=19;t=`} {
		header := c.call(t, "GET", "/api/me", nil).header
		if !strings.HasPrefix(header.Get("RateLimit"), left) || header.Get("RateLimit-Policy") != `"api_member";q=20;w=3600` {
			t.Errorf("%s of %s", header.Get("RateLimit"), header.Get("RateLimit-Policy"))
		}
	}
	p.public().call(t, "GET", "/healthz", nil).want(t, 200)
	ada.logIn(t, ada.password).want(t, 200)
}

// Each change of a language moves the roster, on which every command is decided: so nobody makes many.
func TestLimitsOfLanguages(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 2, "signup_ip=off")
	ada := p[0].signUp(t)
	bob, eve := ada.member(t, "viewer"), ada.member(t, "viewer")
	change := func(c *client, i int, headers ...string) reply {
		return c.on(p[i%2]).call(t, "PATCH", "/api/me", object{"language": []string{"fr", "nl"}[i%2]}, headers...)
	}
	for i := range 10 {
		change(bob, i, fmt.Sprint("Idempotency-Key: ", i)).want(t, 200)
	}
	limited(t, change(bob, 10), "too_many_requests")
	change(bob, 11).want(t, 200)                      // it is so already
	change(bob, 0, "Idempotency-Key: 0").want(t, 200) // it was done before
	refused := make([]bool, 60)
	for round := 0; round < 20 && !slices.Contains(refused, true); round++ { // those that ask for the language that it is by then change nothing
		parallel(len(refused), func(i int) { refused[i] = change(eve, i).status == 429 })
	}
	if n := eve.count(t, "member.language_changed"); n > 20 || !slices.Contains(refused, true) {
		t.Errorf("%d changes of two members, refused %v", n, refused)
	}
	ada.call(t, "PATCH", "/api/me", object{"language": "fr"}).want(t, 200)
	ada.noDrift(t)
}

// A phone writes a capital, and a paste brings a space: slug and address are taken as they are meant.
func TestNamesAsTyped(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1)[0]
	ada := p.signUp(t)
	for i, typed := range []object{
		{"workspace": strings.ToUpper(ada.slug), "email": ada.email}, {"workspace": " " + ada.slug + "\n", "email": ada.email},
		{"workspace": ada.slug, "email": " " + strings.ToUpper(ada.email) + " "},
	} {
		p.public().call(t, "POST", "/api/password/forgot", typed).want(t, 202)
		p.commands.Wait()
		typed["password"] = ada.password
		if p.public().call(t, "POST", "/api/login", typed).want(t, 200); p.code(t, "reset_code", ada.email) == "" {
			t.Errorf("no mail for name %d", i)
		}
	}
}

// A device that has logged in stays able to, from the same network as the stranger who locks everybody else out there.
func TestDevices(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1)[0]
	ada := p.signUp(t)
	logIn := func(device, password string) reply {
		return p.public().call(t, "POST", "/api/login", object{"workspace": ada.slug, "email": ada.email, "password": password, "device": device})
	}
	device := decode[struct {
		Device string `json:"device"`
	}](t, ada.logIn(t, ada.password).want(t, 200)).Device
	for range 5 {
		ada.logIn(t, "wrong").want(t, 401)
	}
	for i := range 15 {
		p.public().call(t, "POST", "/api/login", object{"workspace": ada.slug, "email": fmt.Sprint("x", i, "@people.example"), "password": "wrong"}).want(t, 401)
	}
	limited(t, ada.logIn(t, ada.password), "too_many_requests")
	limited(t, logIn(forge(device), ada.password), "too_many_requests")
	logIn(device, ada.password).want(t, 200)
	logIn(strings.Repeat("x", 101), ada.password).problem(t, 422, "invalid")
}

// forge changes a token's first character.
func forge(token string) string {
	if token[0] == 'x' {
		return "y" + token[1:]
	}
	return "x" + token[1:]
}

// An invitation that others burnt is sent again, by who invited.
func TestInvitedAgain(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1)[0]
	ada := p.signUp(t)
	eve := ada.invite(t, "member")
	ada.react(t, eve.id)
	for range 5 {
		eve.accept(t, "000000", eve.password).problem(t, 422, "bad_code")
	}
	eve.accept(t, p.code(t, "invitation_code", eve.email), eve.password).problem(t, 422, "bad_code")
	a := ada.call(t, "POST", "/api/members", object{"email": eve.email, "full_name": eve.name, "role": "member"}, "Idempotency-Key: again").want(t, 201)
	if m := decode[member](t, a); m.ID != eve.id || m.Status != "invited" {
		t.Errorf("%s", a.body)
	}
	if again := ada.call(t, "POST", "/api/members", object{"email": eve.email, "full_name": eve.name, "role": "member"}, "Idempotency-Key: again"); again.essence() != a.essence() {
		t.Errorf("answered %s and later %s", a.essence(), again.essence())
	}
	if err := p.db.Control(t.Context(), func(tx pgx.Tx) error {
		return p.commands.SendInvitationAgain(t.Context(), tx, ada.workspace, eve.id)
	}); err != nil {
		t.Fatal(err)
	}
	eve.accept(t, p.code(t, "invitation_code", eve.email), eve.password).want(t, 201)
	ada.noDrift(t)
}
