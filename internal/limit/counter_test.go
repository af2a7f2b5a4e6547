package limit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
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

func count(name, subject string) Counter { return Counter{Name: name, Subject: subject} }

func (l *Limits) try(t testing.TB, counters ...Counter) Try {
	t.Helper()
	attempt, err := l.Try(t.Context(), counters)
	if err != nil {
		t.Fatal(err)
	}
	return attempt
}

func (attempt Try) fails(t testing.TB) Lock {
	t.Helper()
	lock, err := attempt.Failed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func (attempt Try) back(t testing.TB, anew ...string) {
	t.Helper()
	if err := attempt.GiveBack(t.Context(), anew...); err != nil {
		t.Fatal(err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {5, 15 * time.Minute}})
	account := count(LoginAccount, "acme\x00ada@example.org")
	full := func() bool {
		t.Helper()
		full, err := l.Full(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		return full
	}
	fail := func(want time.Duration) {
		t.Helper()
		for i := range 5 {
			lock := l.try(t, account).fails(t)
			if lock.Until.IsZero() != (i < 4) {
				t.Fatalf("attempt %d locks until %s", i+1, lock.Until)
			}
			if i == 4 {
				near(t, "locked for", time.Until(lock.Until)-l.ahead, want)
			}
		}
		for range 20 { // cannot be made longer
			_, err := l.Try(t.Context(), []Counter{account})
			near(t, "wait", exceeded(t, err, LoginAccount), want)
		}
		if !full() {
			t.Fatal("it is not full")
		}
		l.ahead += want / 2
		_, err := l.Try(t.Context(), []Counter{account})
		near(t, "half way", exceeded(t, err, LoginAccount), want/2)
		l.ahead += want / 2
		if full() {
			t.Fatal("it is full afterwards")
		}
	}
	for _, want := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, time.Hour} {
		fail(want)
	}
	l.ahead += 25 * time.Hour
	fail(15 * time.Minute)
	fail(30 * time.Minute)
	if err := l.db.Control(t.Context(), func(tx pgx.Tx) error { return l.Clear(t.Context(), tx, time.Time{}, account) }); err != nil {
		t.Fatal(err)
	}
	fail(15 * time.Minute)
	// four, then nothing for a while: they count no more
	for range 4 {
		l.try(t, account).fails(t)
	}
	l.ahead += 16 * time.Minute
	fail(30 * time.Minute)
}

// Who finds no place for attempts under way waits seconds, and none of those that turn out right counts. One that never
// ended counts as failed.
func TestUnderWay(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {3, 15 * time.Minute}, LoginIP: {2, 15 * time.Minute}})
	busy := func(what string, want bool, counters ...Counter) {
		t.Helper()
		_, err := l.Try(t.Context(), counters)
		e, _ := errors.AsType[*ExceededError](err)
		switch {
		case e == nil:
			t.Errorf("%s: %v", what, err)
		case e.Busy != want || want && e.Wait > 5*time.Second || !want && e.Wait < 13*time.Minute:
			t.Errorf("%s: %+v", what, e)
		}
	}
	account, ip := count(LoginAccount, "a"), count(LoginIP, "a")
	for range 20 {
		tries := []Try{l.try(t, account), l.try(t, account), l.try(t, account)}
		busy("three under way", true, account)
		for _, attempt := range tries {
			attempt.back(t)
		}
	}
	failed := l.try(t, account)
	failed.fails(t)
	second, third := l.try(t, account), l.try(t, account)
	busy("one failed, two under way", true, account)
	second.fails(t)
	busy("two failed, one under way", true, account)
	third.fails(t)
	busy("three failed", false, account)

	died := l.try(t, ip)
	l.try(t, ip).fails(t)
	busy("one failed, one under way", true, ip)
	l.ahead += openFor
	busy("one failed, one that never ended", false, ip)
	died.back(t) // it was late, not dead
	l.try(t, ip)
}

// What has no room leaves no trace further in, nor further out.
func TestGroups(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {2, 15 * time.Minute}, LoginIP: {3, 15 * time.Minute}})
	account, ip := count(LoginAccount, "a"), count(LoginIP, "b")
	stored := func() (n int) {
		if err := l.db.Pool().QueryRow(t.Context(), `select coalesce(sum(cardinality(hits)), 0) + count(*) from kluis.counter`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 2 {
		l.try(t, account).fails(t)
	}
	for range 5 {
		_, err := l.Try(t.Context(), []Counter{ip}, []Counter{account})
		exceeded(t, err, LoginAccount)
	}
	for range 3 {
		l.try(t, ip).fails(t)
	}
	before := stored()
	for i := range 5 {
		_, err := l.Try(t.Context(), []Counter{ip}, []Counter{count(LoginAccount, fmt.Sprint(i))})
		exceeded(t, err, LoginIP)
	}
	if now := stored(); now != before {
		t.Errorf("rows and hits %d, before %d", now, before)
	}
}

// Each circle has a count of its own; a subject is cleared in all of them.
func TestCircles(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {2, 15 * time.Minute}})
	stranger, device := count(LoginAccount, "a"), Counter{Name: LoginAccount, Subject: "a", Circle: "device"}
	for range 2 {
		l.try(t, stranger).fails(t)
	}
	for range 2 {
		l.try(t, device).fails(t)
	}
	if err := l.db.Control(t.Context(), func(tx pgx.Tx) error { return l.Clear(t.Context(), tx, time.Time{}, stranger) }); err != nil {
		t.Fatal(err)
	}
	l.try(t, stranger)
	l.try(t, device)
}

// A hit that is given back has never been.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {5, 15 * time.Minute}, LoginIP: {6, 15 * time.Minute}})
	account, ip := count(LoginAccount, "a"), count(LoginIP, "b")
	for range 4 {
		l.try(t, account, ip).fails(t)
	}
	for range 3 {
		attempt := l.try(t, account, ip)
		attempt.back(t)
		attempt.back(t) // twice is once
	}
	l.try(t, account, ip).back(t, LoginAccount) // 4 are left at the network, none at the account
	for range 2 {
		l.try(t, account, ip).fails(t)
	}
	_, err := l.Try(t.Context(), []Counter{account, ip})
	if exceeded(t, err, LoginIP) < 0 {
		t.Error("the account was cleared, and the network with it")
	}
	Try{}.back(t)
}

// The account knows a device and a network again for a month, and takes neither for another account's.
func TestKnown(t *testing.T) {
	t.Parallel()
	url, ring := newDatabase(t), newRing(t)
	l := open(t, url, ring, Defaults())
	home, away := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	circles := func(account string, from netip.Addr, device string) []string {
		t.Helper()
		circles, err := l.Circles(t.Context(), account, from, device)
		if err != nil {
			t.Fatal(err)
		}
		return circles
	}
	if got := circles("ada", home, ""); !slices.Equal(got, []string{""}) {
		t.Errorf("before: %q", got)
	}
	device, err := l.Remember(t.Context(), "ada", home)
	if err != nil {
		t.Fatal(err)
	}
	if got := circles("ada", netip.MustParseAddr("192.0.2.99"), ""); !slices.Equal(got, []string{"network 192.0.2.0/24"}) {
		t.Errorf("the network: %q", got)
	}
	mine := circles("ada", away, device)
	if len(mine) != 2 || !IsDevice(mine[0]) || mine[1] != "" {
		t.Errorf("the device: %q", mine)
	}
	for what, got := range map[string][]string{
		"another account": circles("bob", home, device), "no token": circles("ada", away, "x"), "cut": circles("ada", away, device[:40]),
		"changed": circles("ada", away, "A"+device[1:]), "short": circles("ada", away, device[:4]),
	} {
		if !slices.Equal(got, []string{""}) && device[0] != 'A' {
			t.Errorf("%s: %q", what, got)
		}
	}
	l.ahead = KnownFor + time.Hour
	if got := circles("ada", home, device); !slices.Equal(got, []string{""}) {
		t.Errorf("a month later: %q", got)
	}
	if got, err := (*Limits)(nil).Circles(t.Context(), "ada", home, device); err != nil || !slices.Equal(got, []string{""}) {
		t.Errorf("without limits: %q, %v", got, err)
	}
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
				_, err := processes[i%2].Try(context.Background(), counters(i))
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
	if n := race(func(int) []Counter { return []Counter{count(LoginAccount, "ada"), count(LoginIP, "1")} }); n != 5 {
		t.Errorf("%d of 50 for one account, want 5", n)
	}
	if n := race(func(i int) []Counter { return []Counter{count(LoginIP, "2"), count(LoginAccount, fmt.Sprint(i/2))} }); n != 20 {
		t.Errorf("%d of 50 from one address, want 20", n)
	}
	if n := race(func(int) []Counter { return []Counter{count(SignupIP, "3")} }); n != 7 {
		t.Errorf("%d of 50 sign-ups, want 7", n)
	}
}

// A reference: the same rules on slices in memory. Any run of attempts, failures and give-backs is judged alike.
func TestModel(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Rules{LoginAccount: {3, 3 * time.Minute}, LoginIP: {4, 6 * time.Minute}})
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		l.ahead = 0
		subject := fmt.Sprint(run)
		both := []Counter{count(LoginAccount, subject), count(LoginIP, subject)}
		account, ip := model{rule: l.rules[LoginAccount], locks: true}, model{rule: l.rules[LoginIP]}
		var open []hit
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			l.ahead += time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 20, 65, 185, 375, 90_000}).Draw(t, "seconds")) * time.Second
			what := rapid.IntRange(0, 4).Draw(t, "what")
			if len(open) > 0 && what < 3 {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "attempt")
				attempt := Try{l, open[i : i+1]}
				if what == 0 {
					if err := attempt.GiveBack(context.Background()); err != nil {
						t.Fatal(err)
					}
					account.settle(open[i].at, true)
					ip.settle(open[i].at, true)
				} else {
					lock, err := attempt.Failed(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					ip.settle(open[i].at, false)
					if want := len(open[i].rows.names) > 0 && open[i].rows.names[0] == LoginAccount && account.fail(open[i].at, time.Now().Add(l.ahead), lock.Until); want != !lock.Until.IsZero() {
						t.Fatalf("locked until %s, want a lock: %t", lock.Until, want)
					}
				}
				open = slices.Delete(open, i, i+1)
				continue
			}
			counters := both[:rapid.IntRange(1, 2).Draw(t, "counters")]
			models := []*model{&account, &ip}[:len(counters)]
			rows := l.rowsOf(counters)
			verdicts, err := l.take(context.Background(), rows, true)
			if err != nil {
				t.Fatal(err)
			}
			at, free := verdicts[0].At, true
			for i, m := range models {
				wait, full := m.wait(at)
				if free = free && !full; full != (verdicts[i].Wait != nil || verdicts[i].Crowded) || (wait == 0) != (verdicts[i].Wait == nil) {
					t.Fatalf("%s: want wait %s, full %t, got %v, %t", counters[i].Name, wait, full, verdicts[i].Wait, verdicts[i].Crowded)
				}
				if wait > 0 && time.Duration(*verdicts[i].Wait*1e9).Round(time.Millisecond) != wait.Round(time.Millisecond) {
					t.Fatalf("%s: want wait %s, got %v s", counters[i].Name, wait, *verdicts[i].Wait)
				}
			}
			if (judge(verdicts) == nil) != free {
				t.Fatalf("%v, want free %t", judge(verdicts), free)
			}
			if !free {
				continue
			}
			for _, m := range models {
				m.hits, m.open = append(m.counting(at), at), append(m.open, at)
			}
			open = append(open, hit{rows, at})
		}
	})
}

type model struct {
	rule       Rule
	locks      bool
	hits, open []time.Time
	locked     time.Time
	streak     int
}

func (m *model) counting(at time.Time) (hits []time.Time) {
	for _, h := range m.hits {
		if h.After(at.Add(-m.rule.Span)) && h.After(m.locked) {
			hits = append(hits, h)
		}
	}
	return hits
}

// failed are those of the counting whose outcome is known, or overdue.
func (m *model) failed(at time.Time) (failed []time.Time) {
	for _, h := range m.counting(at) {
		if !slices.Contains(m.open, h) || !h.After(at.Add(-openFor)) {
			failed = append(failed, h)
		}
	}
	return failed
}

func (m *model) wait(at time.Time) (wait time.Duration, full bool) {
	if m.locked.After(at) {
		return m.locked.Sub(at), true
	}
	if failed := m.failed(at); len(failed) >= m.rule.Most {
		return failed[len(failed)-m.rule.Most].Add(m.rule.Span).Sub(at), true
	}
	return 0, len(m.counting(at)) >= m.rule.Most
}

func (m *model) settle(h time.Time, back bool) {
	is := func(other time.Time) bool { return other.Equal(h) }
	m.open = slices.DeleteFunc(m.open, is)
	if back {
		m.hits = slices.DeleteFunc(m.hits, is)
	}
}

// fail settles a failure about now, and says whether it locks: until the given instant.
func (m *model) fail(h, now, until time.Time) bool {
	m.settle(h, false)
	settled := m.failed(now)
	if !m.locks || !slices.Contains(settled, h) || len(settled) < m.rule.Most {
		return false
	}
	if !m.locked.After(now.Add(-24 * time.Hour)) {
		m.streak = 0
	}
	m.locked = until
	m.streak++
	return true
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
