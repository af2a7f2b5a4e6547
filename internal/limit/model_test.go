package limit

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

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
			verdicts, err := l.reserve(context.Background(), rows, true)
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
