package commands

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// toldLog counts recorded incidents, and fails while it is away.
type toldLog struct {
	mu     sync.Mutex
	away   bool
	events int
	kinds  map[incidentKind]int // how many incidents were counted
	things int                  // the largest number of things in one event
}

func (l *toldLog) record(_ context.Context, i incident, t tally) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return errors.New("away")
	}
	l.events++
	l.kinds[i.kind] += t.count
	l.things = max(l.things, len(t.things))
	return nil
}

func (l *toldLog) leave(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

func (l *toldLog) look() (events, denied, more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events, l.kinds[accessDenied], l.kinds[truncated]
}

// Ten thousand equal incidents at once make two events for each window. None is lost, even when the log cannot be written for some windows.
func TestIncidentsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &toldLog{kinds: map[incidentKind]int{}}
		s := &incidents{window: time.Minute, record: log.record}
		one := incident{in: pg.Workspace{ID: uuid.New()}, actor: uuid.New(), operation: "get-task"}
		flood := func() {
			var callers sync.WaitGroup
			for range 10 {
				callers.Go(func() {
					for range 1000 {
						s.note(one, Origin{}, uuid.New())
					}
				})
			}
			callers.Wait()
			synctest.Wait()
		}
		flood()
		if events, denied, _ := log.look(); events != 1 || denied != 1 {
			t.Errorf("at first there are %d events, which count %d", events, denied)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if events, denied, _ := log.look(); events != 2 || denied != 10_000 || log.things > mostThings {
			t.Errorf("after a minute there are %d events, which count %d and name %d things", events, denied, log.things)
		}
		log.leave(true)
		flood()
		time.Sleep(3 * time.Minute)
		flood()
		log.leave(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if events, denied, _ := log.look(); events != 3 || denied != 30_000 || s.left() != 0 {
			t.Errorf("when the log is back there are %d events, which count %d; %d are left", events, denied, s.left())
		}
		time.Sleep(time.Hour)
		if s.timer != nil || s.counted != nil {
			t.Error("there is nothing to count, and something still runs")
		}
	})
}

// The number of different incidents in a window is limited for a workspace and for a process. Further ones are counted together.
func TestIncidentsHaveBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &toldLog{kinds: map[incidentKind]int{}}
		s := &incidents{window: time.Minute, record: log.record}
		w, other := pg.Workspace{ID: uuid.New()}, pg.Workspace{ID: uuid.New()}
		for range 5000 {
			s.note(incident{in: w, actor: uuid.New()}, Origin{}, uuid.Nil)
		}
		s.note(incident{in: other, actor: uuid.New()}, Origin{}, uuid.Nil)
		if n := len(s.counted); n > mostIncidents+2 {
			t.Errorf("%d kinds are remembered", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if events, denied, more := log.look(); events > mostIncidents+2 || denied != mostIncidents+1 || more != 5000-mostIncidents {
			t.Errorf("%d events, %d by themselves, %d together", events, denied, more)
		}
		for range mostAllIncidents / mostIncidents * 2 {
			in := pg.Workspace{ID: uuid.New()}
			for range mostIncidents {
				s.note(incident{in: in, actor: uuid.New()}, Origin{}, uuid.Nil)
			}
		}
		if n := len(s.counted); n > mostAllIncidents+2*mostAllIncidents/mostIncidents {
			t.Errorf("%d kinds of all workspaces are remembered", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, denied, more := log.look(); denied+more != 5001+2*mostAllIncidents {
			t.Errorf("%d and %d are not all", denied, more)
		}
	})
}
