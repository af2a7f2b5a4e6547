package commands

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
)

func TestACodeWorksOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(unlimited...)})
	ada := h.found(t)
	d := ada.enrol(t)
	logIn := func(code string) func(int) error {
		return func(i int) error { _, err := ada.logInWith(i, ada.password, code); return err }
	}
	for range 3 {
		wantEnded(t, "logins with one code", race(20, logIn(d.code(t))), map[string]int{"": 1, "bad_code": 19})
	}
	wantEnded(t, "logins with one recovery code", race(20, logIn(d.recovery[0])), map[string]int{"": 1, "bad_code": 19})
	by := ada.actor(t)
	renew := func(code string) func(int) error {
		return func(i int) error {
			codes, err := h.process(i).RenewRecoveryCodes(context.Background(), by, home, code)
			if err == nil {
				d.recovery = codes
			}
			return err
		}
	}
	wantEnded(t, "new recovery codes", race(20, renew(d.code(t))), map[string]int{"": 1, "bad_code": 19})
	if n := ada.rows(t, "recovery_code"); n != 10 {
		t.Errorf("%d recovery codes", n)
	}
	code := d.code(t)
	wantEnded(t, "a login or new recovery codes", race(20, func(i int) error {
		if i%2 == 0 {
			return logIn(code)(i)
		}
		return renew(code)(i)
	}), map[string]int{"": 1, "bad_code": 19})
	ended := race(20, func(i int) error {
		return h.process(i).DisableTwoFactor(context.Background(), by, home, ada.password, d.recovery[i%2])
	})
	if ended[""] != 1 || ended["bad_code"]+ended["two_factor_disabled"] != 19 {
		t.Errorf("turned off: %v", ended)
	}
	if n := h.changes(t, ada.email, "off"); n != 1 {
		t.Errorf("%d mails", n)
	}
}

func TestParallelWrongSecondFactors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(limit.LoginIP)})
	for who, code := range map[string]func(*device) string{
		"codes": (*device).wrong, "recovery codes": func(*device) string { return "aaaaa-aaaaa" },
	} {
		ada := h.found(t)
		d := ada.enrol(t)
		bad := code(d)
		wantEnded(t, who, kept(race(50, func(i int) error { _, err := ada.logInWith(i, ada.password, bad); return err }), "locked"), map[string]int{"bad_code": 5, "locked": 45})
		if n := h.comparisons(); n != 10 {
			t.Errorf("%s: %d compared, want 5 passwords and 5 codes", who, n)
		}
		if _, err := ada.logInWith(0, ada.password, d.code(t)); refusedAs(err) != "locked" {
			t.Errorf("%s: then %v", who, err)
		}
		h.settle()
		if mails := h.codes(t, "locked", ada.email); len(mails) != 1 {
			t.Errorf("%d mails about the lock", len(mails))
		}
	}
	// The same for somebody who found an open session.
	ada := h.found(t)
	d := ada.enrol(t)
	by, bad := ada.actor(t), d.wrong()
	wantEnded(t, "with a session", kept(race(50, func(i int) error {
		if i%2 == 0 {
			return h.process(i/2).DisableTwoFactor(context.Background(), by, home, ada.password, bad)
		}
		_, err := h.process(i/2).RenewRecoveryCodes(context.Background(), by, home, bad)
		return err
	}), "locked"), map[string]int{"bad_code": 5, "locked": 45})
}

func TestPasswordAloneClearsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{rules: without(limit.LoginIP)})
	ada := h.found(t)
	d := ada.enrol(t)
	alone := func() {
		t.Helper()
		if _, err := ada.logIn(0, ada.password); refusedAs(err) != "code_required" {
			t.Fatal(err)
		}
	}
	guess := func(want string) {
		t.Helper()
		if _, err := ada.logInWith(0, ada.password, d.wrong()); refusedAs(err) != want {
			t.Fatalf("%v, want %s", err, want)
		}
	}
	for range 20 {
		alone()
	}
	for range 2 {
		for range 4 {
			guess("bad_code")
			alone()
		}
		if _, err := ada.logInWith(0, ada.password, d.code(t)); err != nil { // a complete log-in resets the counter
			t.Fatal(err)
		}
	}
	wantEnded(t, "passwords alone beside each other", race(4, func(int) error { _, err := ada.logIn(0, ada.password); return err }), map[string]int{"code_required": 4})
	for i := range 4 {
		guess("bad_code")
		if i == 1 {
			fresh := newPassword()
			if err := h.ChangePassword(t.Context(), ada.actor(t), home, ada.password, fresh); err != nil {
				t.Fatal(err)
			}
			ada.password = fresh
		}
		if _, err := h.BeginTwoFactor(t.Context(), ada.actor(t), home, ada.password); refusedAs(err) != "two_factor_enabled" {
			t.Fatal(err)
		}
		alone()
	}
	guess("bad_code")
	guess("locked")
	if _, err := ada.logInWith(0, ada.password, d.code(t)); refusedAs(err) != "locked" {
		t.Error(err)
	}
}

func TestNoSessionSkipsTheSecondFactor(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{processes: 2, rules: without(unlimited...)})
	ada := h.found(t)
	for range 8 {
		proposal, err := h.BeginTwoFactor(t.Context(), ada.actor(t), home, ada.password)
		if err != nil {
			t.Fatal(err)
		}
		d, by := &device{p: ada, secret: proposal.Secret}, ada.actor(t)
		code := d.code(t)
		var mu sync.Mutex
		var tokens []string
		ended := race(9, func(i int) error {
			if i == 8 {
				time.Sleep(25 * time.Millisecond)
				codes, err := h.process(i).ConfirmTwoFactor(context.Background(), by, home, code)
				d.recovery = codes
				return err
			}
			time.Sleep(time.Duration(i) * 10 * time.Millisecond)
			token, err := ada.logIn(i, ada.password)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				tokens = append(tokens, token)
			}
			if refusedAs(err) == "code_required" {
				return nil
			}
			return err
		})
		wantEnded(t, "all", ended, map[string]int{"": 9})
		for _, token := range tokens {
			ada.alive(t, "a session without a code", token, false)
		}
		ada.alive(t, "her own", ada.token, true)
		if err := h.DisableTwoFactor(t.Context(), ada.actor(t), home, ada.password, d.recovery[0]); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d logins before it", len(tokens))
	}
}

func TestStrangeCodes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{rules: without(unlimited...)})
	ada := h.found(t)
	d := ada.enrol(t)
	right := d.code(t)
	arabic := strings.Map(func(r rune) rune { return r - '0' + '٠' }, right)
	wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, right)
	for _, code := range []string{"1", "12345", right[:5], right + "0", "0" + right, "00" + right, "abcdef", right[:5] + "x", arabic, wide, "+" + right[1:],
		right + "\n", right + "\x00", "\u00a0" + right, "aaaaa-aaaaa", d.recovery[0] + "a", d.recovery[0][:9], "0x" + right, "1e5", strings.Repeat("9", 1<<20), "'; drop table two_factor; --", "null"} {
		if _, err := ada.logInWith(0, ada.password, code); refusedAs(err) != "bad_code" {
			t.Errorf("%.30q: %v", code, err)
		}
		if _, err := h.RenewRecoveryCodes(t.Context(), ada.actor(t), home, code); refusedAs(err) != "bad_code" {
			t.Errorf("%.30q: %v", code, err)
		}
	}
	if _, err := ada.logInWith(0, ada.password, " "+right[:2]+"-"+right[2:]+" "); err != nil {
		t.Errorf("the right one: %v", err)
	}
	if _, err := h.RenewRecoveryCodes(t.Context(), ada.actor(t), home, ""); refusedAs(err) != "bad_code" {
		t.Errorf("none: %v", err)
	}
}

func TestTwoFactorsBrokenOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{rules: without(unlimited...)})
	ada := h.found(t)
	by := ada.actor(t)
	state := func() (on bool, sessions int) {
		t.Helper()
		var confirmed, codes int
		if err := h.DB.Read(t.Context(), ada.in, pg.Exec(`select count(*) from two_factor where confirmed_at is not null`).Scan(&confirmed),
			pg.Exec(`select count(*) from recovery_code`).Scan(&codes), pg.Exec(`select count(*) from session`).Scan(&sessions)); err != nil {
			t.Fatal(err)
		}
		if codes != 10*confirmed {
			t.Fatalf("%d two factors with %d recovery codes", confirmed, codes)
		}
		return confirmed == 1, sessions
	}
	ended := map[string]int{}
	for i := range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%20)*700*time.Microsecond)
		was, sessions := state()
		d := &device{p: ada}
		if !was {
			if p, err := h.BeginTwoFactor(t.Context(), by, home, ada.password); err == nil {
				d.secret = p.Secret
			}
			code := d.code(t)
			_, err := h.ConfirmTwoFactor(ctx, by, home, code)
			on, _ := state()
			if err == nil && !on {
				t.Error("confirmed, and not on")
			}
			if !on {
				_, err = h.ConfirmTwoFactor(t.Context(), by, home, code)
			}
			if on, _ := state(); !on {
				t.Fatalf("not on: %v", err)
			}
			ended["on"]++
			cancel()
			continue
		}
		cancel()
		// From the database, because the test does not know which answer was lost.
		account := ok(h.Projections.AccountByID(t.Context(), ada.in, ada.id))
		d.secret = ok(ok(h.Vault.Key(t.Context(), ada.in, ada.id)).Open(secretField, account.TwoFactor))
		code := d.code(t)
		ctx, cancel = context.WithTimeout(t.Context(), time.Duration(12+i%20*2)*time.Millisecond)
		if _, err := h.Login(ctx, Credentials{Workspace: ada.slug, Email: ada.email, Password: ada.password, Code: code}); err != nil {
			ended["login broken off"]++
			time.Sleep(50 * time.Millisecond) // the server may still be working
		}
		cancel()
		_, after := state()
		_, err := ada.logInWith(0, ada.password, code)
		if used := refusedAs(err) == "bad_code"; used != (after > sessions) {
			t.Errorf("%d sessions, then %d, and then %v", sessions, after, err)
		}
		if i%3 == 0 {
			ctx, cancel = context.WithTimeout(t.Context(), time.Duration(12+i%20*2)*time.Millisecond)
			if err := h.DisableTwoFactor(ctx, by, home, ada.password, d.code(t)); err != nil {
				ended["end broken off"]++
			}
			cancel()
			state()
		}
	}
	t.Log(ended)
}
