package commands

import (
	"context"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

const wrong = "a wrong password 1"

// Of 50 wrong passwords at once, at two processes, 5 are compared, whether the account exists or not.
func TestParallelWrongLogins(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.LoginIP)})
	ada := h.found(t)
	invited, _ := ada.invite(t, "member")
	out := ada.member(t, "member")
	if _, err := h.DeactivateMember(t.Context(), Request{By: ada.actor(t)}, out.id); err != nil {
		t.Fatal(err)
	}
	nobody := &person{h: h, slug: ada.slug, email: "nobody@people.example"}
	nowhere := &person{h: h, slug: "not-" + ada.slug, email: ada.email}
	nothing := &person{h: h, slug: ada.slug, email: "no address"}
	for who, p := range map[string]*person{"known": ada, "invited": invited, "deactivated": out, "unknown": nobody, "no workspace": nowhere, "no address": nothing} {
		h.comparisons()
		wantEnded(t, who, kept(race(50, func(i int) error { _, err := p.logIn(i, wrong); return err }), "locked"), map[string]int{"bad_credentials": 5, "locked": 45})
		if n := h.comparisons(); n != 5 {
			t.Errorf("%s: %d compared, want 5", who, n)
		}
		_, err := p.logIn(0, p.password)
		r, _ := domain.Refusal(err)
		if r == nil || r.Code != "locked" || r.RetryAfter > 15*time.Minute || r.RetryAfter < 14*time.Minute {
			t.Errorf("%s: then %v", who, err)
		}
	}
	for _, p := range []*person{ada, invited, out} {
		got := p.types(t)
		slices.Sort(got)
		if want := append([]string{"member.locked"}, slices.Repeat([]string{"member.login_failed"}, 5)...); !slices.Equal(want, slices.DeleteFunc(got, func(s string) bool { return s == "member.logged_in" })) {
			t.Errorf("events %v", got)
		}
	}
	if mails := h.codes(t, "locked", ada.email); len(mails) != 1 {
		t.Errorf("%d mails about the lock", len(mails))
	}
	if mails := h.codes(t, "locked", out.email); len(mails) != 0 {
		t.Errorf("%d mails about the lock to a deactivated member", len(mails))
	}
}

func without(names ...string) limit.Rules {
	rules := limit.Defaults()
	for _, name := range names {
		delete(rules, name)
	}
	return rules
}

// A right password works beside four wrong ones, and resets the counter of the account.
func TestRightLoginAmongWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.LoginIP, limit.LoginDay)})
	ada := h.found(t)
	for round := range 5 {
		ended := race(5, func(i int) error {
			password := wrong
			if i == 2 {
				password = ada.password
			}
			_, err := ada.logIn(i, password)
			return err
		})
		wantEnded(t, "a right one among five", ended, map[string]int{"": 1, "bad_credentials": 4})
		if _, err := ada.logIn(round, ada.password); err != nil {
			t.Fatalf("round %d, afterwards: %v", round, err)
		}
	}
	for range 3 { // the counter begins anew each time
		for range 4 {
			if _, err := ada.logIn(0, wrong); refusedAs(err) != "bad_credentials" {
				t.Fatal(err)
			}
		}
		if _, err := ada.logIn(1, ada.password); err != nil {
			t.Fatal(err)
		}
	}
}

// Failures also count for the network, over all accounts; successes do not. At that limit no account is locked.
func TestLoginsOfOneAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	for range 25 {
		if _, err := ada.logIn(0, ada.password); err != nil {
			t.Fatal(err)
		}
	}
	h.comparisons()
	ended := race(60, func(i int) error {
		p := &person{h: h, slug: ada.slug, email: uuid.NewString() + "@people.example"}
		_, err := p.logIn(i, wrong)
		return err
	})
	wantEnded(t, "60 accounts", kept(ended, "too_many_requests"), map[string]int{"bad_credentials": 20, "too_many_requests": 40})
	if n := h.comparisons(); n != 20 {
		t.Errorf("%d compared, want 20", n)
	}
	for range 10 {
		if _, err := ada.logIn(0, wrong); refusedAs(err) != "too_many_requests" {
			t.Fatal(err)
		}
	}
	elsewhere := Credentials{Workspace: ada.slug, Email: ada.email, Password: ada.password}
	if _, err := h.Login(t.Context(), elsewhere); err != nil {
		t.Errorf("from another address: %v", err)
	}
}

// A lock ends at its first end, whatever is tried meanwhile.
func TestLockCannotBeExtended(t *testing.T) {
	t.Parallel()
	rules := without(limit.LoginIP)
	rules[limit.LoginAccount] = limit.Rule{Most: 2, Span: 6 * time.Second}
	h := newHouse(t, settings{rules: rules})
	ada := h.found(t)
	for range 2 {
		if _, err := ada.logIn(0, wrong); refusedAs(err) != "bad_credentials" {
			t.Fatal(err)
		}
	}
	_, err := ada.logIn(0, ada.password)
	r, _ := domain.Refusal(err)
	if r == nil || r.Code != "locked" {
		t.Fatal(err)
	}
	end := time.Now().Add(r.RetryAfter)
	n := 0
	for ; time.Now().Before(end.Add(-time.Second)); n++ {
		if _, err := ada.logIn(0, wrong); refusedAs(err) != "locked" {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Until(end) + 50*time.Millisecond)
	if _, err := ada.logIn(0, ada.password); err != nil {
		t.Errorf("after %d attempts while locked: %v", n, err)
	}
	ada.wantTypes(t, "login_failed", "login_failed", "locked", "logged_in")
}

// An attempt that was not compared, for lack of a slot or of time, does not count.
func TestNotComparedDoesNotCount(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	h.Hasher = ok(password.NewHasher(password.Floor, 1, 0))
	for range 10 {
		ended := race(5, func(int) error { _, err := ada.logIn(0, ada.password); return err })
		if ended["busy"]+ended[""] != 5 {
			t.Fatalf("%v", ended)
		}
	}
	h.Hasher = ok(password.NewHasher(password.Floor, 1, 10))
	for range 10 {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Millisecond)
		_, err := h.Login(ctx, Credentials{Workspace: ada.slug, Email: ada.email, Password: ada.password, From: home})
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if _, err := ada.logIn(0, ada.password); err != nil {
		t.Error(err)
	}
}

// No session is opened, and no password is changed, without an event in the log.
func TestNothingWithoutTheLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	by, code := ada.actor(t), ada.resetCode(t)
	err := h.DB.Own(t.Context(), ada.in.Schema(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `revoke insert on event from `+ada.in.Schema())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	before := ada.count(t, `select count(*) from session`)
	if _, err := ada.logIn(0, ada.password); !pg.Is(err, pg.AccessDenied) {
		t.Errorf("a login: %v", err)
	}
	if err := h.ChangePassword(t.Context(), by, home, ada.password, "another "+ada.password); !pg.Is(err, pg.AccessDenied) {
		t.Errorf("a new password: %v", err)
	}
	if err := ada.reset(0, code, "another "+ada.password); !pg.Is(err, pg.AccessDenied) {
		t.Errorf("a reset: %v", err)
	}
	if now := ada.count(t, `select count(*) from session`); now != before {
		t.Errorf("%d sessions, before that %d", now, before)
	}
	if right, _, err := h.Hasher.Verify(t.Context(), "", ada.phc(t), ada.password); err != nil || !right {
		t.Errorf("the password is another: %v", err)
	}
}

func (p *person) phc(t testing.TB) (phc string) {
	t.Helper()
	if err := p.h.DB.Read(t.Context(), p.in, pg.Exec(`select password from credential where member_id = $1`, p.id).Scan(&phc)); err != nil {
		t.Fatal(err)
	}
	return phc
}

// A password with a hash of other parameters is hashed anew at a log-in; many log-ins at once all work.
func TestRehash(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2})
	ada := h.found(t)
	costly := password.Floor
	costly.Time++
	for i := range 2 {
		h.process(i).Hasher = ok(password.NewHasher(costly, 2, 50))
	}
	wantEnded(t, "logins", race(5, func(i int) error { _, err := ada.logIn(i, ada.password); return err }), map[string]int{"": 5})
	var stored string
	if err := h.DB.Read(t.Context(), ada.in, pg.Exec(`select password from credential`).Scan(&stored)); err != nil || !strings.Contains(stored, "t=3,") {
		t.Errorf("%s: %v", stored, err)
	}
	if _, err := ada.logIn(0, wrong); refusedAs(err) != "bad_credentials" {
		t.Error(err)
	}
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{rules: without(limit.LoginIP)})
	ada := h.found(t)
	grace := ada.member(t, "member")
	unlock := func(by *person, id uuid.UUID) (Result[domain.Member], error) {
		return h.UnlockMember(context.Background(), Request{By: by.actor(t)}, id)
	}
	if done, err := unlock(ada, grace.id); err != nil || done.State.ID != grace.id {
		t.Errorf("one that is not locked: %v", err)
	}
	grace.wantTypes(t)
	for range 5 {
		if _, err := grace.logIn(0, wrong); refusedAs(err) != "bad_credentials" {
			t.Fatal(err)
		}
	}
	for by, p := range map[string]*person{"herself": grace, "another": ada.member(t, "manager")} {
		if _, err := unlock(p, grace.id); refusedAs(err) != "forbidden" {
			t.Errorf("by %s: %v", by, err)
		}
	}
	for _, id := range []uuid.UUID{uuid.New(), {}, h.found(t).id} {
		if _, err := unlock(ada, id); refusedAs(err) != "member_not_found" {
			t.Errorf("%s: %v", id, err)
		}
	}
	stale := 1
	if _, err := h.UnlockMember(t.Context(), Request{By: ada.actor(t), IfMatch: []int{stale}}, grace.id); refusedAs(err) != "stale" {
		t.Error(err)
	}
	if _, err := grace.logIn(0, grace.password); refusedAs(err) != "locked" {
		t.Fatal(err)
	}
	h.settle()
	done, err := unlock(ada, grace.id)
	if err != nil || done.State.Status != domain.Active {
		t.Fatal(err)
	}
	if _, err := grace.logIn(0, grace.password); err != nil {
		t.Error(err)
	}
	grace.wantTypes(t, "login_failed", "login_failed", "login_failed", "login_failed", "login_failed", "locked", "unlocked", "logged_in")
	m, mark, err := projections.Members.Get(t.Context(), h.Projections, ada.actor(t), grace.id)
	if err != nil || mark.Behind() != 0 || m.Version != done.State.Version || m.UpdatedAt != done.State.UpdatedAt {
		t.Errorf("the member afterwards: %+v at %+v, %v", m, mark, err)
	}
}

// The actor of an event is the member who caused it. A wrong password has no actor. The origin is sealed.
func TestActors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	_, _ = ada.logIn(0, wrong)
	h.settle()
	if _, err := ada.logIn(0, ada.password); err != nil {
		t.Fatal(err)
	}
	h.settle()
	records, _, _, err := h.Projections.ListRecords(t.Context(), ada.actor(t), projections.Filter{Stream: domain.AccountStream(ada.id)}, 10)
	if err != nil || len(records) != 2 {
		t.Fatalf("%d, %v", len(records), err)
	}
	if records[1].Actor != nil || records[0].Actor == nil || *records[0].Actor != ada.id {
		t.Errorf("by %v and %v", records[1].Actor, records[0].Actor)
	}
	origins, err := h.OpenOrigins(t.Context(), ada.in, records)
	if err != nil || origins[0] != home || origins[1] != home {
		t.Errorf("from %v: %v", origins, err)
	}
}

// Of wrong codes at once, of any kind, five are compared, and of right ones one has an effect.
func TestParallelCodes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.SignupIP, limit.SignupDomain, limit.LoginIP)})
	ada := h.found(t)
	signUp := func() (uuid.UUID, string) {
		slug := "w" + uuid.NewString()[:13]
		id, err := h.SignUp(t.Context(), Signup{Slug: slug, Name: "Works", Email: "x@" + slug + ".example", FullName: "X", Password: ada.password})
		if err != nil {
			t.Fatal(err)
		}
		return id, h.codes(t, "signup_code", "x@"+slug+".example")[0]
	}
	verify := func(id uuid.UUID, code string) func(int) error {
		return func(i int) error {
			_, err := h.process(i).VerifySignup(context.Background(), home, id, code)
			return err
		}
	}
	accept := func(p *person, code string) func(int) error {
		return func(i int) error {
			_, err := h.process(i).AcceptInvitation(context.Background(), home, p.slug, p.email, code, p.password+string(rune('a'+i%20)))
			return err
		}
	}
	id, code := signUp()
	wantEnded(t, "wrong sign-up codes", race(100, verify(id, other(code))), map[string]int{"bad_code": 100})
	if n := h.comparisons(); n != 5 {
		t.Errorf("%d compared, want 5", n)
	}
	wantEnded(t, "the right one, too late", race(1, verify(id, code)), map[string]int{"bad_code": 1})
	wantEnded(t, "right sign-up codes", race(20, verify(signUp())), map[string]int{"": 1, "bad_code": 19})
	h.comparisons()

	invited, code := ada.invite(t, "member")
	wantEnded(t, "wrong invitation codes", race(100, accept(invited, other(code))), map[string]int{"bad_code": 100})
	if n := h.comparisons(); n != 5 {
		t.Errorf("%d compared, want 5", n)
	}
	wantEnded(t, "the right one, too late", race(1, accept(invited, code)), map[string]int{"bad_code": 1})
	for range 3 {
		invited, code = ada.invite(t, "member")
		winner := ""
		wantEnded(t, "right invitation codes", kept(race(20, func(i int) error {
			err := accept(invited, code)(i)
			if err == nil {
				winner = invited.password + string(rune('a'+i%20))
			}
			return err
		}), "bad_code"), map[string]int{"": 1, "bad_code": 19})
		if _, err := invited.logIn(0, winner); err != nil {
			t.Errorf("the password of the one that got in: %v", err)
		}
	}
}

// other gives another code.
func other(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

// No secret and no personal data are in clear in the database, or in the log of the process.
func TestNothingInClear(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	ada := h.found(t)
	_, _ = ada.logIn(0, wrong)
	code := ada.resetCode(t)
	for range 4 {
		_, _ = ada.logIn(0, wrong)
	}
	h.settle()
	forgotten := uuid.NewString() + "@people.example"
	if err := h.ForgotPassword(t.Context(), Forgotten{Workspace: ada.slug, Email: forgotten, From: home}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	markers := []string{ada.email, strings.ToUpper(ada.email), forgotten, "192.0.2.1", ada.password, wrong, `"` + code + `"`, "\t" + code + "\t", ada.token}
	texts := map[string]string{"the log": h.log.String()}
	if _, err := exec.LookPath("pg_dump"); err == nil {
		for _, as := range []string{"kluis_owner"} {
			dump, err := exec.Command("pg_dump", "--role="+as, h.url).CombinedOutput()
			if err != nil {
				t.Logf("pg_dump: %v: %s", err, dump)
				continue
			}
			texts["the dump"] = string(dump)
		}
	}
	for _, table := range []string{"event", "password_reset", "member", "session", "credential", "data_key"} {
		var rows []string
		if err := h.DB.Read(t.Context(), ada.in, pg.Column(&rows, `select (t.*)::text from `+table+` t`)); err != nil {
			t.Fatal(err)
		}
		texts[table] = strings.Join(rows, "\n")
	}
	if n := strings.Count(texts["password_reset"], "\n"); n != 1 {
		t.Errorf("%d rows of codes, want 2", n+1)
	}
	for where, text := range texts {
		for _, marker := range markers {
			if strings.Contains(text, marker) {
				t.Errorf("%s has %q", where, marker)
			}
		}
	}
	if !slices.Contains(slices.Collect(maps.Keys(texts)), "the dump") {
		t.Log("there was no dump to look into")
	}
}

// Log-ins per second, beside bare hashes with the same hasher in the same run: only Argon2 may bound them.
func BenchmarkLogin(b *testing.B) {
	h := newHouse(b, settings{params: password.Default})
	var people []*person
	ada := h.found(b)
	for range 4 {
		people = append(people, ada.member(b, "member"))
	}
	// n calls, as many at once as there are people; the two take turns, because the speed of a shared machine varies
	per := func(n int, do func(i int) error) time.Duration {
		begun := time.Now()
		var next atomic.Int64
		wantEnded(b, "all", race(len(people), func(int) error {
			for i := next.Add(1); int(i) <= n; i = next.Add(1) {
				if err := do(int(i)); err != nil {
					return err
				}
			}
			return nil
		}), map[string]int{"": len(people)})
		return time.Since(begun)
	}
	var hashes, logins time.Duration
	n := 0
	for b.Loop() {
		n += 20
		hashes += per(20, func(int) error { return h.Hasher.VerifyNone(b.Context(), "", wrong) })
		logins += per(20, func(i int) error { p := people[i%len(people)]; _, err := p.logIn(0, p.password); return err })
	}
	b.ReportMetric(float64(n)/hashes.Seconds(), "hashes/s")
	b.ReportMetric(float64(n)/logins.Seconds(), "logins/s")
	b.ReportMetric(hashes.Seconds()/logins.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}
