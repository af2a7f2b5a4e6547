package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

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
