package promises

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/totp"
)

// device is what shows a client's codes, with the recovery codes beside it.
type device struct {
	*client
	secret   string
	recovery []string
}

// code is one of this moment. Whether it was used is forgotten: a test does not wait for the next one.
func (d *device) code(t tester) string {
	t.Helper()
	forget := pg.Exec(`update two_factor set last_step = 0 where member_id = $1`, d.id)
	if err := d.db.Do(context.Background(), d.workspace, forget); err != nil {
		t.Fatal(err)
	}
	return must(totp.Code(d.secret, totp.StepAt(time.Now())))
}

// enrol turns on two factors.
func (c *client) enrol(t tester) *device {
	t.Helper()
	proposed := decode[struct {
		Secret string
		URL    string `json:"otpauth_url"`
	}](t, c.call(t, "POST", "/api/me/two-factor", object{"password": c.password}).want(t, 201))
	if !strings.Contains(proposed.URL, "secret="+proposed.Secret) {
		t.Fatalf("%+v", proposed)
	}
	d := &device{client: c, secret: proposed.Secret}
	d.recovery = recoveryCodes(t, c.call(t, "POST", "/api/me/two-factor/confirm", object{"code": d.code(t)}))
	c.site.secret(append(d.recovery, d.secret)...)
	return d
}

func recoveryCodes(t tester, a reply) []string {
	t.Helper()
	codes := decode[struct {
		Codes []string `json:"recovery_codes"`
	}](t, a.want(t, 200)).Codes
	if len(codes) != 10 {
		t.Fatalf("%s", a.body)
	}
	return codes
}

func (c *client) logInWith(t tester, password, code string) reply {
	t.Helper()
	return c.process.public().call(t, "POST", "/api/login", object{"workspace": c.slug, "email": c.email, "password": password, "code": code})
}

// twoFactor is what GET /api/me says of two factors.
func (c *client) twoFactor(t tester) (enabled, required bool) {
	t.Helper()
	me := decode[struct {
		TwoFactor struct{ Enabled, Required bool } `json:"two_factor"`
	}](t, c.call(t, "GET", "/api/me", nil).want(t, 200))
	return me.TwoFactor.Enabled, me.TwoFactor.Required
}

func TestTwoFactorsOverHTTP(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "member")
	other := bob.as(decode[admitted](t, bob.logIn(t, bob.password).want(t, 200)).Token)
	script, _ := bob.newToken(t)
	if enabled, required := bob.twoFactor(t); enabled || required {
		t.Error("on from the beginning")
	}
	bob.call(t, "POST", "/api/me/two-factor", object{"password": newPassword()}).problem(t, 422, "invalid")
	bob.call(t, "POST", "/api/me/two-factor/confirm", object{"code": "123456"}).problem(t, 409, "two_factor_not_begun")
	script.call(t, "POST", "/api/me/two-factor", object{"password": bob.password}).problem(t, 403, "session_required")
	d := bob.enrol(t)
	if enabled, required := bob.on(p[1]).twoFactor(t); !enabled || required {
		t.Error("not on")
	}
	other.on(p[1]).call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	script.on(p[1]).newTask(t)
	bob.call(t, "POST", "/api/me/two-factor", object{"password": bob.password}).problem(t, 409, "two_factor_enabled")

	bob.on(p[1]).logIn(t, bob.password).problem(t, 401, "code_required")
	code := d.code(t)
	bob.enter(t, bob.on(p[1]).logInWith(t, bob.password, code).want(t, 200))
	bob.logInWith(t, bob.password, code).problem(t, 401, "bad_code")
	bob.logInWith(t, bob.password, d.recovery[0]).want(t, 200)
	bob.logInWith(t, bob.password, d.recovery[0]).problem(t, 401, "bad_code")
	bob.call(t, "POST", "/api/me/two-factor/recovery-codes", object{"code": "123"}).problem(t, 422, "bad_code")
	fresh := recoveryCodes(t, bob.call(t, "POST", "/api/me/two-factor/recovery-codes", object{"code": d.code(t)}))
	bob.logInWith(t, bob.password, d.recovery[1]).problem(t, 401, "bad_code")
	bob.call(t, "POST", "/api/me/two-factor/disable", object{"password": newPassword(), "code": fresh[0]}).problem(t, 422, "invalid")
	bob.call(t, "POST", "/api/me/two-factor/disable", object{"password": bob.password, "code": fresh[0]}).want(t, 204)
	bob.logIn(t, bob.password).want(t, 200)

	bob.enrol(t)
	at := "/api/members/" + bob.id.String() + "/two-factor"
	bob.call(t, "DELETE", at, nil).problem(t, 403, "forbidden")
	ada.call(t, "DELETE", "/api/members/"+uuid.NewString()+"/two-factor", nil).problem(t, 404, "member_not_found")
	ada.call(t, "DELETE", at, nil, `If-Match: "1"`).problem(t, 412, "stale")
	if n := ada.call(t, "DELETE", at, nil).want(t, 204).position(t); n != ada.head(t) {
		t.Errorf("at position %d", n)
	}
	bob.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	script.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	bob.enter(t, bob.logIn(t, bob.password).want(t, 200))
	before := ada.head(t)
	ada.call(t, "DELETE", at, nil).want(t, 204) // nothing is left to take off
	bob.twoFactor(t)
	if ada.head(t) != before {
		t.Error("something was stored")
	}
	ada.call(t, "DELETE", "/api/members/"+ada.id.String()+"/two-factor", nil).problem(t, 409, "own_two_factor")
	ada.judge(t)
	ada.noDrift(t)
}

// Whether a login has a code, and whatever it is, who does not know the password learns nothing of it: not that there is
// such an account, and not that it has two factors.
func TestLoginSaysTheSameWithACode(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1, "signup_ip=off", "login_ip=off", "login_account=off")[0]
	ada := p.signUp(t)
	accounts := suspects(t, ada)
	accounts["two factors"] = ada.member(t, "member")
	d := accounts["two factors"].enrol(t)
	want := accounts["active"].logIn(t, newPassword()).want(t, 401).sameBytes(t)
	for who, c := range accounts {
		for _, code := range []string{"", "123456", "12 34 56", "no code", d.code(t), d.recovery[0], "aaaaa-aaaaa"} {
			if got := c.logInWith(t, newPassword(), code); got.sameBytes(t) != want {
				t.Errorf("%s with %q: %d %s", who, code, got.status, got.body)
			}
		}
		if got := c.logIn(t, newPassword()); got.sameBytes(t) != want {
			t.Errorf("%s without: %d %s", who, got.status, got.body)
		}
		if got := c.logInWith(t, newPassword(), strings.Repeat("1", 101)); got.status != 422 {
			t.Errorf("%s with a huge one: %d", who, got.status)
		}
	}
	accounts["active"].logInWith(t, accounts["active"].password, "123456").want(t, 200) // one that nobody asks for
	p.commands.Wait()
}

// A wrong code takes the account nearer to its lock: at log-in, or in sessions, where no stranger's failures count.
func TestLimitsOfCodes(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 2)
	ada := p[0].signUp(t)
	d := ada.enrol(t)
	for range 3 {
		ada.logInWith(t, ada.password, "12345").problem(t, 401, "bad_code")
		ada.call(t, "POST", "/api/me/two-factor/disable", object{"password": ada.password, "code": "12345"}).problem(t, 422, "bad_code")
	}
	for range 6 {
		ada.logIn(t, ada.password).problem(t, 401, "code_required")
	}
	ada.logInWith(t, ada.password, "aaaaa-aaaaa").problem(t, 401, "bad_code")
	ada.on(p[1]).logInWith(t, ada.password, "٠٠٠٠٠٠").problem(t, 401, "bad_code")
	limited(t, ada.logInWith(t, ada.password, d.code(t)), "locked")
	for range 2 {
		ada.on(p[1]).call(t, "POST", "/api/me/two-factor/recovery-codes", object{"code": "12345"}).problem(t, 422, "bad_code")
	}
	limited(t, ada.call(t, "POST", "/api/me/two-factor/disable", object{"password": ada.password, "code": d.code(t)}), "locked")
}

// What is no code is refused as a wrong one, and what is no text as no request.
func TestCodesThatAreNone(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	ada.enrol(t)
	for _, body := range []string{`{"code":null}`, `{"code":123456}`, `{"code":["123456"]}`, `{}`, `{"code":"123456","more":1}`, `{"code":"` + strings.Repeat("1", 101) + `"}`} {
		ada.call(t, "POST", "/api/me/two-factor/recovery-codes", body).want(t, 422)
	}
	for _, body := range []string{`{"code":"a\u0000b"}`, `{"code":"\ud800"}`, "{\"code\":\"\xff\"}"} {
		if got := ada.call(t, "POST", "/api/me/two-factor/recovery-codes", body); got.status != 400 {
			t.Errorf("%q: %d", body, got.status)
		}
	}
	for _, code := range []string{"", " ", "12345", "1234567", "12 34 5", "abcdef", "１２３４５６", "١٢٣٤٥٦", "-1", "'; --", strings.Repeat("é", 100)} {
		ada.call(t, "POST", "/api/me/two-factor/recovery-codes", object{"code": code}).problem(t, 422, "bad_code")
		ada.call(t, "POST", "/api/me/two-factor/disable", object{"password": ada.password, "code": code}).problem(t, 422, "bad_code")
	}
}
