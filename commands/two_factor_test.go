package commands

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/totp"
	"github.com/kluis-eu/kluis/projections"
)

// device makes a person's codes, and has the recovery codes.
type device struct {
	p        *person
	secret   string
	recovery []string
}

// wait moves the clock of all processes on by a number of steps, so that the next code is another.

func (h *house) wait(steps int) {
	before := h.time()
	shift := time.Until(before) + time.Duration(steps)*30*time.Second
	for i := range 1 + len(h.others) {
		h.process(i).now = func(context.Context) (time.Time, error) { return time.Now().Add(shift), nil }
	}
}

// time is the time for codes.
func (h *house) time() time.Time { return ok(h.Commands.now(context.Background())) }

// code gives the next unused code.

func (d *device) code(t testing.TB) string {
	t.Helper()
	d.p.h.wait(1)
	return ok(totp.Code(d.secret, totp.StepAt(d.p.h.time())))
}

// wrong gives a code that the device does not make.

func (d *device) wrong() string {
	now := totp.StepAt(d.p.h.time())
	for _, code := range []string{"000000", "000001", "000002", "000003", "000004", "000005"} {
		if !slices.ContainsFunc([]int64{-2, -1, 0, 1, 2}, func(by int64) bool { return ok(totp.Code(d.secret, now+by)) == code }) {
			return code
		}
	}
	panic("six codes of five")
}

// enrol turns on the second factor of a person.

func (p *person) enrol(t testing.TB) *device {
	t.Helper()
	proposal, err := p.h.BeginTwoFactor(t.Context(), p.actor(t), home, p.password)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{p: p, secret: proposal.Secret}
	if d.recovery, err = p.h.ConfirmTwoFactor(t.Context(), p.actor(t), home, d.code(t)); err != nil {
		t.Fatal(err)
	}
	p.h.comparisons()
	return d
}

// logInWith logs in with a code.

func (p *person) logInWith(process int, password, code string) (string, error) {
	in, err := p.h.process(process).Login(context.Background(), Credentials{Workspace: p.slug, Email: p.email, Password: password, Code: code, From: home})
	return in.Token, err
}

func (p *person) alive(t testing.TB, what, token string, want bool) {
	t.Helper()
	if _, err := p.h.Authenticate(t.Context(), token); (err == nil) != want {
		t.Errorf("%s: %v", what, err)
	}
}

func (p *person) newToken(t testing.TB) string {
	t.Helper()
	_, text, err := p.h.CreateToken(t.Context(), Request{By: p.actor(t)}, domain.TokenCreated{Name: "script", ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The life of one device, from the secret to the end.

func TestTwoFactorsOfOneMember(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	other, err := ada.logIn(0, ada.password)
	if err != nil {
		t.Fatal(err)
	}
	script := ada.newToken(t)
	if _, err := h.ConfirmTwoFactor(t.Context(), ada.actor(t), home, "123456"); refusedAs(err) != "two_factor_not_begun" {
		t.Errorf("before it began: %v", err)
	}
	if _, err := h.BeginTwoFactor(t.Context(), ada.actor(t), home, wrong); refusedAs(err) != "invalid" {
		t.Errorf("with a wrong password: %v", err)
	}
	if _, err := h.RenewRecoveryCodes(t.Context(), ada.actor(t), home, "123456"); refusedAs(err) != "two_factor_disabled" {
		t.Errorf("recovery codes before: %v", err)
	}
	h.settle()
	old, err := h.BeginTwoFactor(t.Context(), ada.actor(t), home, ada.password)
	if err != nil || !strings.HasPrefix(old.URL, "otpauth://totp/Kluis:"+ada.email+"%20%28"+ada.slug+"%29?") || !strings.Contains(old.URL, old.Secret) {
		t.Fatalf("%+v, %v", old, err)
	}
	if _, err := ada.logIn(1, ada.password); err != nil {
		t.Errorf("a secret that is only proposed asks for a code: %v", err)
	}
	d := ada.enrol(t)
	if d.secret == old.Secret || len(d.recovery) != 10 {
		t.Fatalf("%+v", d)
	}
	ada.alive(t, "the session that it was confirmed in", ada.token, true)
	ada.alive(t, "a session from before", other, false)
	ada.alive(t, "an API token", script, true)
	if _, err := h.BeginTwoFactor(t.Context(), ada.actor(t), home, ada.password); refusedAs(err) != "two_factor_enabled" {
		t.Errorf("once more: %v", err)
	}
	if _, err := h.ConfirmTwoFactor(t.Context(), ada.actor(t), home, d.code(t)); refusedAs(err) != "two_factor_enabled" {
		t.Errorf("confirmed once more: %v", err)
	}

	logIn := func(what, password, code, want string) {
		t.Helper()
		if _, err := ada.logInWith(1, password, code); refusedAs(err) != want {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
		h.settle() // a failure is noted in the background, and has no order with what comes next
	}
	logIn("no code", ada.password, "", "code_required")
	logIn("nothing but spaces", ada.password, " - ", "code_required")
	code := d.code(t)
	logIn("a right code behind a wrong password", wrong, code, "bad_credentials")
	logIn("a right code", ada.password, code[:3]+" "+code[3:], "")
	logIn("the same", ada.password, code, "bad_code")
	first := d.code(t)
	logIn("the next", ada.password, d.code(t), "")
	logIn("an earlier one that was not used", ada.password, first, "bad_code")
	logIn("a recovery code", ada.password, strings.ToUpper(strings.ReplaceAll(d.recovery[0], "-", " ")), "")
	logIn("the same", ada.password, d.recovery[0], "bad_code")

	fresh, err := h.RenewRecoveryCodes(t.Context(), ada.actor(t), home, d.code(t))
	if err != nil || len(fresh) != 10 {
		t.Fatalf("%q, %v", fresh, err)
	}
	logIn("one from before", ada.password, d.recovery[1], "bad_code")
	logIn("a new one", ada.password, fresh[1], "")
	if err := h.DisableTwoFactor(t.Context(), ada.actor(t), home, wrong, d.code(t)); refusedAs(err) != "invalid" {
		t.Errorf("with a wrong password: %v", err)
	}
	if err := h.DisableTwoFactor(t.Context(), ada.actor(t), home, ada.password, d.wrong()); refusedAs(err) != "bad_code" {
		t.Errorf("with a wrong code: %v", err)
	}
	h.settle()
	if err := h.DisableTwoFactor(t.Context(), ada.actor(t), home, ada.password, fresh[2]); err != nil {
		t.Fatal(err)
	}
	if err := h.DisableTwoFactor(t.Context(), ada.actor(t), home, ada.password, fresh[3]); refusedAs(err) != "two_factor_disabled" {
		t.Errorf("once more: %v", err)
	}
	logIn("without", ada.password, "", "")
	logIn("with one that nobody asks for", ada.password, fresh[3], "")
	for change, want := range map[string]int{"on": 1, "off": 1, "reset": 0} {
		if n := h.changes(t, ada.email, change); n != want {
			t.Errorf("%d mails that say %s", n, change)
		}
	}
	ada.wantTypes(t, strings.Fields("logged_in login_failed logged_in two_factor_enabled login_failed login_failed login_failed logged_in login_failed logged_in login_failed "+
		"recovery_code_used logged_in login_failed recovery_codes_renewed login_failed recovery_code_used logged_in login_failed login_failed "+
		"recovery_code_used two_factor_disabled logged_in logged_in")...)
	if n := ada.rows(t, "two_factor") + ada.rows(t, "recovery_code"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// rows counts the rows of a table of the workspace.

func (p *person) rows(t testing.TB, table string) (n int) {
	t.Helper()
	if err := p.h.DB.Read(t.Context(), p.in, pg.Exec(`select count(*) from `+table).Scan(&n)); err != nil { //sqlcheck:allow names of our own
		t.Fatal(err)
	}
	return n
}

// A code is good for one thing, however many want it at once: logins, new recovery codes, the end of it all.

// changes counts the mails about two factors.

func (h *house) changes(t testing.TB, address, change string) (n int) {
	t.Helper()
	for _, m := range h.mails(t) {
		if m.Template == "two_factor_changed" && m.To == address && m.Values["Change"] == change {
			n++
		}
	}
	return n
}

// Of 20 confirmations at once one succeeds, and its recovery codes are valid.

func TestConfirmedOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.LoginIP, limit.LoginAccount)})
	ada := h.found(t)
	proposal, err := h.BeginTwoFactor(t.Context(), ada.actor(t), home, ada.password)
	if err != nil {
		t.Fatal(err)
	}
	by, d := ada.actor(t), &device{p: ada, secret: proposal.Secret}
	code := d.code(t)
	var mu sync.Mutex
	ended := race(20, func(i int) error {
		if i == 7 { // and one that begins anew meanwhile
			_, err := h.BeginTwoFactor(context.Background(), by, home, ada.password)
			if refusedAs(err) == "two_factor_enabled" || err == nil {
				return domain.Refuse(domain.Conflict, "began", "")
			}
			return err
		}
		codes, err := h.process(i).ConfirmTwoFactor(context.Background(), by, home, code)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			d.recovery = codes
		}
		return err
	})
	if ended[""] > 1 || ended["began"] != 1 || ended[""]+ended["bad_code"]+ended["two_factor_enabled"]+ended["began"] != 20 {
		t.Fatalf("%v", ended)
	}
	if ended[""] == 1 {
		if _, err := ada.logInWith(0, ada.password, d.recovery[0]); err != nil {
			t.Error(err)
		}
		if _, err := ada.logInWith(0, ada.password, code); refusedAs(err) != "bad_code" {
			t.Errorf("the code that confirmed: %v", err)
		}
	}
}

// 50 wrong codes behind the right password, at two processes: 5 are compared.

// Who knows the password and guesses codes gets 5 guesses: neither the password alone, nor a new password, nor a secret

// that is asked for makes the counter begin anew. Nor does the password alone count.

// No session that was opened without a code outlives the moment at which codes are asked for, whoever is quicker.

// A new password, or a lock that ends, takes nobody past the second factor.

func TestResetOfThePasswordLeavesTwoFactors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	d := ada.enrol(t)
	fresh := newPassword()
	if err := ada.reset(0, ada.resetCode(t), fresh); err != nil {
		t.Fatal(err)
	}
	if _, err := ada.logIn(0, fresh); refusedAs(err) != "code_required" {
		t.Error(err)
	}
	if _, err := ada.logInWith(0, fresh, d.code(t)); err != nil {
		t.Error(err)
	}
}

func TestResetTwoFactor(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	grace, bob := ada.member(t, "member"), ada.member(t, "admin")
	reset := func(by projections.Actor, id uuid.UUID) error {
		_, err := h.ResetTwoFactor(context.Background(), Request{By: by, Origin: home}, id)
		return err
	}
	script := grace.newToken(t)
	if err := reset(ada.actor(t), grace.id); err != nil {
		t.Errorf("one who has none: %v", err)
	}
	grace.actor(t) // her session goes on
	d := grace.enrol(t)
	for _, id := range []uuid.UUID{uuid.New(), {}, h.found(t).id} {
		if err := reset(ada.actor(t), id); refusedAs(err) != "member_not_found" {
			t.Errorf("%s: %v", id, err)
		}
	}
	if err := reset(grace.actor(t), grace.id); refusedAs(err) != "forbidden" {
		t.Errorf("by herself: %v", err)
	}
	ada.enrol(t)
	if err := reset(ada.actor(t), ada.id); refusedAs(err) != "own_two_factor" {
		t.Errorf("an admin's own: %v", err)
	}
	stale := 1
	if _, err := h.ResetTwoFactor(t.Context(), Request{By: ada.actor(t), IfMatch: []int{stale}}, grace.id); refusedAs(err) != "stale" {
		t.Error(err)
	}
	before := bob.actor(t) // read while he is an admin
	if _, err := h.ChangeRole(t.Context(), Request{By: ada.actor(t)}, bob.id, "manager"); err != nil {
		t.Fatal(err)
	}
	if err := reset(before, grace.id); refusedAs(err) != "forbidden" {
		t.Errorf("by an admin no more: %v", err)
	}
	if _, err := grace.logIn(0, grace.password); refusedAs(err) != "code_required" {
		t.Errorf("after all that was refused: %v", err)
	}
	by := ada.actor(t)
	wantEnded(t, "at once", race(5, func(i int) error {
		_, err := h.process(i).ResetTwoFactor(context.Background(), Request{By: by, Origin: home}, grace.id)
		return err
	}), map[string]int{"": 5})
	grace.alive(t, "her session", grace.token, false)
	grace.alive(t, "her API token", script, false)
	if _, err := grace.logIn(0, grace.password); err != nil {
		t.Errorf("without a code: %v", err)
	}
	if _, err := grace.logInWith(0, grace.password, d.recovery[0]); err != nil {
		t.Errorf("with one that nobody asks for: %v", err)
	}
	if n := h.changes(t, grace.email, "reset"); n != 1 {
		t.Errorf("%d mails", n)
	}
	types := grace.types(t)
	if n := slices.Index(types, "member.two_factor_reset"); n < 0 {
		t.Errorf("%v", types)
	}
	records, _, _, err := h.Projections.ListRecords(t.Context(), ada.actor(t), projections.Filter{Types: []string{"member.two_factor_reset"}}, 10)
	if err != nil || len(records) == 0 || records[0].Actor == nil || *records[0].Actor != ada.id {
		t.Errorf("%v, %v", records, err)
	}
}

// The same reset once more turns off nothing that was turned on since.
func TestResetTwoFactorAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	grace := ada.member(t, "member")
	grace.enrol(t)
	r := Request{By: ada.actor(t), Origin: home, Once: &Once{Key: [32]byte{1}, Fingerprint: [32]byte{2}}}
	for i := range 3 {
		if _, err := h.process(i).ResetTwoFactor(t.Context(), r, grace.id); err != nil {
			t.Fatal(err)
		}
		var err error
		if i == 0 {
			if grace.token, err = grace.logIn(0, grace.password); err != nil {
				t.Fatal(err)
			}
			grace.enrol(t)
			continue
		}
		if _, err = grace.logIn(0, grace.password); refusedAs(err) != "code_required" {
			t.Errorf("the same reset, time %d: %v", i+1, err)
		}
	}
	h.settle()
	records, _, _, err := h.Projections.ListRecords(t.Context(), ada.actor(t), projections.Filter{Stream: domain.RosterStream}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, from := range ok(h.OpenOrigins(t.Context(), ada.in, records)) {
		if from != home {
			t.Errorf("%s came from %v", records[i].Type, from)
		}
	}
	if log := h.log.String(); strings.Contains(log, "does not open") {
		t.Error(log)
	}
}

// What is no code at all is a wrong one, whatever it is.

// An API token turns nothing on or off.

func TestTwoFactorsTakeASession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	by, err := h.Authenticate(t.Context(), ada.newToken(t))
	if err != nil {
		t.Fatal(err)
	}
	_, begun := h.BeginTwoFactor(t.Context(), by, home, ada.password)
	_, confirmed := h.ConfirmTwoFactor(t.Context(), by, home, "123456")
	_, renewed := h.RenewRecoveryCodes(t.Context(), by, home, "123456")
	for _, err := range []error{begun, confirmed, renewed, h.DisableTwoFactor(t.Context(), by, home, ada.password, "123456")} {
		if refusedAs(err) != "session_required" {
			t.Error(err)
		}
	}
}

// Broken off anywhere, or with an answer that was lost, a change is whole or not there: two factors are on with ten

// recovery codes or off with none, and a code is used up if, and only if, there is a session for it.
