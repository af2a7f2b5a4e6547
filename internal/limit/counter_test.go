package limit

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
)

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got > want || got < want-10*time.Second {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{SignupIP: {2, time.Hour}})
	a, b := count(SignupIP, "192.0.2.1"), count(SignupIP, "192.0.2.2")
	for i, step := range []struct {
		after time.Duration
		wait  time.Duration // negative: there is room
	}{
		{0, -1}, {40 * time.Minute, -1}, {0, 20 * time.Minute}, {19 * time.Minute, time.Minute},
		{2 * time.Minute, -1}, // the first is out
		{0, 39 * time.Minute}, {39 * time.Minute, -1}, {0, 21 * time.Minute}, {48 * time.Hour, -1},
	} {
		l.ahead += step.after
		err := l.Take(t.Context(), a)
		wait := exceeded(t, err, SignupIP)
		if step.wait < 0 && wait != -1 {
			t.Errorf("step %d: wait %s", i, wait)
		} else if step.wait > 0 {
			near(t, fmt.Sprintf("step %d", i), wait, step.wait)
		}
		if i == 2 {
			if err := l.Take(t.Context(), b); err != nil {
				t.Errorf("another subject: %v", err)
			}
		}
	}
	if err := l.Take(t.Context(), count(LoginIP, "192.0.2.1")); err != nil {
		t.Errorf("a limit that is off: %v", err)
	}
	if err := (*Limits)(nil).Take(t.Context(), a); err != nil {
		t.Errorf("no limits at all: %v", err)
	}
}

// Either every counter counts the hit or none does, and the answer is of the one that lasts longest.
func TestAllOrNone(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{ResetAccount: {2, time.Hour}, ResetDay: {3, 24 * time.Hour}, SignupIP: {1, 48 * time.Hour}})
	hour, day, ip := count(ResetAccount, "x"), count(ResetDay, "x"), count(SignupIP, "x")
	for range 2 {
		if err := l.Take(t.Context(), day, hour); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		err := l.Take(t.Context(), hour, day, ip)
		near(t, "the third in an hour", exceeded(t, err, ResetAccount), time.Hour)
	}
	l.ahead += time.Hour
	if err := l.Take(t.Context(), ip, hour, day); err != nil {
		t.Fatalf("what was refused did count: %v", err)
	}
	err := l.Take(t.Context(), hour, day, ip)
	near(t, "the longest", exceeded(t, err, SignupIP), 48*time.Hour)
}

// Rows that say nothing any more go away by themselves.
func TestSweep(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{SignupIP: {5, time.Hour}})
	rows := func() (n int) {
		if err := l.db.Pool().QueryRow(t.Context(), `select count(*) from kluis.counter`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 50 {
		if err := l.Take(t.Context(), count(SignupIP, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.db.Pool().Exec(t.Context(), `update kluis.counter set keep_until = now() - interval '1 s'`); err != nil {
		t.Fatal(err)
	}
	for range sweepEvery {
		if err := l.Take(t.Context(), count(SignupIP, "new")); err != nil && exceeded(t, err, SignupIP) < 0 {
			t.Fatal(err)
		}
	}
	if n := rows(); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

// The database holds no address, and the counters go on behind a rotation of the keys.
func TestSubjectsAreHidden(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	file := filepath.Join(t.TempDir(), "keys")
	if err := keyring.Create(file); err != nil {
		t.Fatal(err)
	}
	load := func() *keyring.Keyring {
		ring, err := keyring.Load(file, "")
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	rules := Rules{SignupIP: {1, time.Hour}}
	counter := count(SignupIP, "marker-192.0.2.77")
	old := open(t, url, load(), rules)
	if err := old.Take(t.Context(), counter); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(file)
	if err := os.WriteFile(file, append([]byte(keyringLine(t)), before...), 0o600); err != nil {
		t.Fatal(err)
	}
	rotated := open(t, url, load(), rules) // rewraps
	err := rotated.Take(t.Context(), counter)
	if exceeded(t, err, SignupIP) < 0 {
		t.Error("the counter began anew with the new key")
	}
	after, _ := os.ReadFile(file)
	if err := os.WriteFile(file, []byte(strings.SplitAfter(string(after), "\n")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	err = open(t, url, load(), rules).Take(t.Context(), counter) // the old key is gone
	if exceeded(t, err, SignupIP) < 0 {
		t.Error("the counter began anew without the old key")
	}
	other := open(t, url, newRing(t), rules) // no key opens it
	if err := other.Take(t.Context(), counter); err != nil {
		t.Error(err)
	}
	if dump, err := exec.Command("pg_dump", url).Output(); err == nil && strings.Contains(string(dump), "marker") {
		t.Error("the dump has the subject")
	}
	rows, _ := old.db.Pool().Query(t.Context(), `select c::text from kluis.counter c`)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(texts) != 2 || strings.Contains(fmt.Sprint(texts), "192.0") {
		t.Errorf("%v %v", texts, err)
	}
}

// keyringLine is a new key.
func keyringLine(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := keyring.Create(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
			return line
		}
	}
	t.Fatal("no key")
	return ""
}

func TestParse(t *testing.T) {
	t.Parallel()
	if got, err := Parse(nil); err != nil || !maps.Equal(got, Defaults()) {
		t.Errorf("%v %v", got, err)
	}
	got, err := Parse([]string{" signup_ip=1000/24h", "login_ip=off", "", "api_member=1/1s"})
	want := Defaults()
	want[SignupIP], want[APIMember] = Rule{1000, 24 * time.Hour}, Rule{1, time.Second}
	delete(want, LoginIP)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	for _, entry := range []string{"x=1/1h", "=1/1h", "signup_ip", "signup_ip=", "signup_ip=5", "signup_ip=0/1h", "signup_ip=-1/1h", "signup_ip=5/",
		"signup_ip=5/1", "signup_ip=5/0s", "signup_ip=5/1ms", "signup_ip=5/9999h", "signup_ip=1e3/1h", "signup_ip=5/1h/1h", "Signup_ip=5/1h", "signup_ip=1000001/1h",
		"signup_ip=٥/1h"} {
		if _, err := Parse([]string{"login_ip=off", entry}); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("%q: ", entry)) {
			t.Errorf("%s: %v", entry, err)
		}
	}
	if _, err := Parse([]string{"signup_ip=5/1h", "signup_ip=6/1h"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
}

// A take of two counters, beside a bare round trip to the same database.
func BenchmarkTake(b *testing.B) {
	l := newLimits(b, Rules{LoginAccount: {5, 15 * time.Minute}, LoginIP: {mostMost, 15 * time.Minute}})
	b.Run("round trip", func(b *testing.B) {
		for b.Loop() {
			if _, err := l.db.Pool().Exec(b.Context(), `select 1`); err != nil {
				b.Fatal(err)
			}
		}
	})
	n := 0
	take := func(b *testing.B, ip string) {
		n++
		attempt, err := l.Try(b.Context(), []Counter{count(LoginAccount, fmt.Sprint(n)), count(LoginIP, ip)})
		if err != nil {
			b.Fatal(err)
		}
		if ip == "" {
			attempt.back(b, LoginAccount)
		}
	}
	b.Run("take and give back", func(b *testing.B) {
		for b.Loop() {
			take(b, "")
		}
	})
	b.Run("take", func(b *testing.B) { // the hits stay in the row of the address, so this depends on the number of runs
		for b.Loop() {
			take(b, "192.0.2.1")
		}
	})
}
