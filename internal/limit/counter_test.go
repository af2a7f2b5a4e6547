package limit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

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
	a, b := Counter{SignupIP, "192.0.2.1"}, Counter{SignupIP, "192.0.2.2"}
	for i, step := range []struct {
		after time.Duration
		wait  time.Duration // negative: there is room
	}{
		{0, -1}, {40 * time.Minute, -1}, {0, 20 * time.Minute}, {19 * time.Minute, time.Minute},
		{2 * time.Minute, -1}, // the first is out
		{0, 39 * time.Minute}, {39 * time.Minute, -1}, {0, 21 * time.Minute}, {48 * time.Hour, -1},
	} {
		l.ahead += step.after
		_, err := l.Take(t.Context(), a)
		wait := exceeded(t, err, SignupIP)
		if step.wait < 0 && wait != -1 {
			t.Errorf("step %d: wait %s", i, wait)
		} else if step.wait > 0 {
			near(t, fmt.Sprintf("step %d", i), wait, step.wait)
		}
		if i == 2 {
			if _, err := l.Take(t.Context(), b); err != nil {
				t.Errorf("another subject: %v", err)
			}
		}
	}
	if _, err := l.Take(t.Context(), Counter{LoginIP, "192.0.2.1"}); err != nil {
		t.Errorf("a limit that is off: %v", err)
	}
	if _, err := (*Limits)(nil).Take(t.Context(), a); err != nil {
		t.Errorf("no limits at all: %v", err)
	}
}

// Either every counter counts the hit or none does, and the answer is of the one that lasts longest.
func TestAllOrNone(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{ResetAccount: {2, time.Hour}, ResetDay: {3, 24 * time.Hour}, SignupIP: {1, 48 * time.Hour}})
	hour, day, ip := Counter{ResetAccount, "x"}, Counter{ResetDay, "x"}, Counter{SignupIP, "x"}
	for range 2 {
		if _, err := l.Take(t.Context(), day, hour); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		_, err := l.Take(t.Context(), hour, day, ip)
		near(t, "the third in an hour", exceeded(t, err, ResetAccount), time.Hour)
	}
	l.ahead += time.Hour
	if _, err := l.Take(t.Context(), ip, hour, day); err != nil {
		t.Fatalf("what was refused did count: %v", err)
	}
	_, err := l.Take(t.Context(), hour, day, ip)
	near(t, "the longest", exceeded(t, err, SignupIP), 48*time.Hour)
}

func TestLock(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {5, 15 * time.Minute}})
	account := Counter{LoginAccount, "acme\x00ada@example.org"}
	fail := func(want time.Duration) {
		t.Helper()
		for i := range 5 {
			hit, err := l.Take(t.Context(), account)
			if err != nil {
				t.Fatalf("attempt %d: %v", i+1, err)
			}
			if hit.Locked.IsZero() != (i < 4) {
				t.Fatalf("attempt %d locks until %s", i+1, hit.Locked)
			}
			if i == 4 {
				near(t, "locked for", time.Until(hit.Locked)-l.ahead, want)
			}
		}
		for range 20 { // cannot be made longer
			_, err := l.Take(t.Context(), account)
			near(t, "wait", exceeded(t, err, LoginAccount), want)
		}
		if locked, err := l.Locked(t.Context(), account); err != nil || !locked {
			t.Fatalf("Locked: %t, %v", locked, err)
		}
		l.ahead += want / 2
		_, err := l.Take(t.Context(), account)
		near(t, "half way", exceeded(t, err, LoginAccount), want/2)
		l.ahead += want / 2
		if locked, err := l.Locked(t.Context(), account); err != nil || locked {
			t.Fatalf("Locked afterwards: %t, %v", locked, err)
		}
	}
	for _, want := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, time.Hour} {
		fail(want)
	}
	l.ahead += 25 * time.Hour
	fail(15 * time.Minute)
	fail(30 * time.Minute)
	if err := l.db.Control(t.Context(), func(tx pgx.Tx) error { return l.Clear(t.Context(), tx, account, time.Time{}) }); err != nil {
		t.Fatal(err)
	}
	fail(15 * time.Minute)
	// four, then nothing for a while: they count no more
	for range 4 {
		if _, err := l.Take(t.Context(), account); err != nil {
			t.Fatal(err)
		}
	}
	l.ahead += 16 * time.Minute
	fail(30 * time.Minute)
}

// A hit that is given back has never been, also when it was the one that locked, or one of those that did.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {5, 15 * time.Minute}, LoginIP: {6, 15 * time.Minute}})
	account, ip := Counter{LoginAccount, "a"}, Counter{LoginIP, "b"}
	var hits []Hit
	take := func(n int) {
		t.Helper()
		for range n {
			hit, err := l.Take(t.Context(), account, ip)
			if err != nil {
				t.Fatal(err)
			}
			hits = append(hits, hit)
		}
	}
	back := func(i int, anew ...string) {
		t.Helper()
		if err := l.GiveBack(t.Context(), hits[i], anew...); err != nil {
			t.Fatal(err)
		}
	}
	full := func() {
		t.Helper()
		_, err := l.Take(t.Context(), account, ip)
		if wait := exceeded(t, err, LoginAccount); wait < 14*time.Minute || wait > 15*time.Minute {
			t.Fatalf("wait %s", wait)
		}
	}
	take(5)
	full()
	for _, i := range []int{4, 0, 2} {
		back(i)
		back(i) // twice is once
		take(1)
		full()
	}
	back(3, LoginAccount) // 4 are left at the address, none at the account
	take(2)
	_, err := l.Take(t.Context(), account, ip)
	if exceeded(t, err, LoginIP) < 0 {
		t.Error("the account was cleared, and the address with it")
	}
	if err := l.GiveBack(t.Context(), Hit{}); err != nil {
		t.Error(err)
	}
}

// The streak of locks is not shortened by a hit that was given back.
func TestGiveBackKeepsStreak(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {2, 15 * time.Minute}})
	account := Counter{LoginAccount, "a"}
	take := func() Hit {
		t.Helper()
		hit, err := l.Take(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		return hit
	}
	take()
	take()
	l.ahead += 15 * time.Minute
	take()
	if err := l.GiveBack(t.Context(), take()); err != nil {
		t.Fatal(err)
	}
	near(t, "the second lock", time.Until(take().Locked)-l.ahead, 30*time.Minute)
}

// 50 at once, in two processes: exactly as many get through as may.
func TestParallel(t *testing.T) {
	t.Parallel()
	url, ring := newDatabase(t), newRing(t)
	rules := Rules{LoginAccount: {5, 15 * time.Minute}, LoginIP: {20, 15 * time.Minute}, SignupIP: {7, time.Hour}}
	processes := []*Limits{open(t, url, ring, rules), open(t, url, ring, rules)}
	race := func(counters func(i int) []Counter) (through int64) {
		var n atomic.Int64
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				_, err := processes[i%2].Take(context.Background(), counters(i)...)
				var refused *ExceededError
				switch {
				case err == nil:
					n.Add(1)
				case !errors.As(err, &refused):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return n.Load()
	}
	if n := race(func(int) []Counter { return []Counter{{LoginAccount, "ada"}, {LoginIP, "1"}} }); n != 5 {
		t.Errorf("%d of 50 for one account, want 5", n)
	}
	if n := race(func(i int) []Counter { return []Counter{{LoginIP, "2"}, {LoginAccount, fmt.Sprint(i / 2)}} }); n != 20 {
		t.Errorf("%d of 50 from one address, want 20", n)
	}
	if n := race(func(int) []Counter { return []Counter{{SignupIP, "3"}} }); n != 7 {
		t.Errorf("%d of 50 sign-ups, want 7", n)
	}
}

// A reference: the same rules on slices in memory. Any run of takes and give-backs is judged alike.
func TestModel(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {3, time.Minute}, LoginIP: {4, 2 * time.Minute}})
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		l.ahead = 0
		subject := fmt.Sprint(run)
		both := []Counter{{LoginAccount, subject}, {LoginIP, subject}}
		account, ip := model{rule: l.rules[LoginAccount], locks: true}, model{rule: l.rules[LoginIP]}
		var hits []Hit
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			l.ahead += time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 20, 61, 125, 90_000}).Draw(t, "seconds")) * time.Second
			if len(hits) > 0 && rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				i := rapid.IntRange(0, len(hits)-1).Draw(t, "hit")
				if err := l.GiveBack(context.Background(), hits[i]); err != nil {
					t.Fatal(err)
				}
				account.giveBack(hits[i].at)
				ip.giveBack(hits[i].at)
				hits = slices.Delete(hits, i, i+1)
				continue
			}
			counters := both[:rapid.IntRange(1, 2).Draw(t, "counters")]
			models := []*model{&account, &ip}[:len(counters)]
			rows := l.rowsOf(counters)
			verdicts, err := l.take(context.Background(), rows)
			if err != nil {
				t.Fatal(err)
			}
			at := verdicts[0].At
			free := true
			for i, m := range models {
				wait := m.wait(at)
				if free = free && wait == 0; (wait == 0) != (verdicts[i].Wait == nil) {
					t.Fatalf("%s: want wait %s, got %v", counters[i].Name, wait, verdicts[i].Wait)
				}
				if wait > 0 && time.Duration(*verdicts[i].Wait*1e9).Round(time.Millisecond) != wait.Round(time.Millisecond) {
					t.Fatalf("%s: want wait %s, got %v s", counters[i].Name, wait, *verdicts[i].Wait)
				}
			}
			if !free {
				continue
			}
			for _, m := range models {
				m.take(at)
			}
			if hit, err := judge(rows, verdicts); err != nil || !account.locked.Equal(hit.Locked) && account.locked.After(at) {
				t.Fatalf("locked until %s, want %s (%v)", hit.Locked, account.locked, err)
			} else {
				hits = append(hits, hit)
			}
		}
	})
}

type model struct {
	rule   Rule
	locks  bool
	hits   []time.Time
	locked time.Time
	streak int
}

func (m *model) counting(at time.Time) (hits []time.Time) {
	for _, h := range m.hits {
		if h.After(at.Add(-m.rule.Span)) && h.After(m.locked) {
			hits = append(hits, h)
		}
	}
	return hits
}

func (m *model) wait(at time.Time) time.Duration {
	if m.locked.After(at) {
		return m.locked.Sub(at)
	}
	if hits := m.counting(at); len(hits) >= m.rule.Most {
		return hits[len(hits)-m.rule.Most].Add(m.rule.Span).Sub(at)
	}
	return 0
}

func (m *model) take(at time.Time) {
	m.hits = append(m.counting(at), at)
	if !m.locked.After(at.Add(-24 * time.Hour)) {
		m.streak = 0
	}
	if m.locks && len(m.hits) >= m.rule.Most {
		m.locked = at.Add(m.rule.Span << min(m.streak, 2))
		m.streak++
	}
}

func (m *model) giveBack(at time.Time) {
	i := slices.Index(m.hits, at)
	if i < 0 {
		return
	}
	m.hits = slices.Delete(m.hits, i, i+1)
	if !m.locked.After(at) {
		return
	}
	m.streak--
	m.locked = at
	if len(m.hits) > 0 {
		m.locked = m.hits[0].Add(-time.Microsecond)
	}
}

// Rows that say nothing any more go away by themselves.
func TestSweep(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{SignupIP: {5, time.Hour}})
	count := func() (n int) {
		if err := l.db.Pool().QueryRow(t.Context(), `select count(*) from kluis.counter`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 50 {
		if _, err := l.Take(t.Context(), Counter{SignupIP, fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.db.Pool().Exec(t.Context(), `update kluis.counter set keep_until = now() - interval '1 s'`); err != nil {
		t.Fatal(err)
	}
	for range sweepEvery {
		if _, err := l.Take(t.Context(), Counter{SignupIP, "new"}); err != nil && exceeded(t, err, SignupIP) < 0 {
			t.Fatal(err)
		}
	}
	if n := count(); n != 1 {
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
	counter := Counter{SignupIP, "marker-192.0.2.77"}
	old := open(t, url, load(), rules)
	if _, err := old.Take(t.Context(), counter); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(file)
	if err := os.WriteFile(file, append([]byte(keyringLine(t)), before...), 0o600); err != nil {
		t.Fatal(err)
	}
	rotated := open(t, url, load(), rules) // rewraps
	_, err := rotated.Take(t.Context(), counter)
	if exceeded(t, err, SignupIP) < 0 {
		t.Error("the counter began anew with the new key")
	}
	after, _ := os.ReadFile(file)
	if err := os.WriteFile(file, []byte(strings.SplitAfter(string(after), "\n")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = open(t, url, load(), rules).Take(t.Context(), counter) // the old key is gone
	if exceeded(t, err, SignupIP) < 0 {
		t.Error("the counter began anew without the old key")
	}
	other := open(t, url, newRing(t), rules) // no key opens it
	if _, err := other.Take(t.Context(), counter); err != nil {
		t.Error(err)
	}
	if dump, err := exec.Command("pg_dump", url).Output(); err == nil && strings.Contains(string(dump), "marker") {
		t.Error("the dump has the subject")
	}
	rows, _ := old.db.Pool().Query(t.Context(), `select c::text from kluis.counter c`)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(texts) != 2 || strings.Contains(fmt.Sprint(texts), "192") {
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
		hit, err := l.Take(b.Context(), Counter{LoginAccount, fmt.Sprint(n)}, Counter{LoginIP, ip})
		if err != nil {
			b.Fatal(err)
		}
		if ip == "" {
			if err := l.GiveBack(b.Context(), hit, LoginAccount); err != nil {
				b.Fatal(err)
			}
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
