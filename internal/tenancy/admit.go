package tenancy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/internal/pg"
)

// LackingError says that a database, or a workspace in it, lacks migrations that this program needs.
type LackingError struct {
	Workspace  string // empty: the control schema
	Has, Needs int
	Why        error         // why it was not given them; nil when nobody tried, or it is under way
	Wait       time.Duration // when to ask again
}

func (e *LackingError) Error() string {
	of := "the control schema"
	if e.Workspace != "" {
		of = "workspace " + e.Workspace
	}
	text := fmt.Sprintf("%s lacks migrations (it has %d of %d): run `kluis migrate`", of, e.Has, e.Needs)
	if e.Why != nil {
		text = fmt.Sprintf("%s is at migration %d of %d: %v", of, e.Has, e.Needs, e.Why)
	}
	return text
}

func (e *LackingError) Unwrap() error { return e.Why }

// Lost says for pg.Lost that no connection is.
func (e *LackingError) Lost() bool { return false }

// ErrNewer says that a newer program has migrated what this one wants to use.
var ErrNewer error = newerError{}

type newerError struct{}

func (newerError) Error() string { return "it was migrated by a newer kluis" }
func (newerError) Lost() bool    { return false }

// fleet is what a process knows of the workspaces: those that it may serve, and those that it migrates.
type fleet struct {
	current sync.Map // ids of workspaces that had all migrations when they were looked at

	slots   chan struct{} // one element for each migration under way
	mu      sync.Mutex
	efforts map[uuid.UUID]*effort
}

// effort is what a process does to give a workspace its migrations. It is forgotten when it succeeds.
type effort struct {
	done     chan struct{} // closed when the last try has ended
	err      error         // of the last try
	failures int           // in a row
	again    time.Time     // not before
}

const (
	touchPatience = 2 * time.Second // how long a request waits for the migration that it caused
	atOnce        = 4               // migrations in one process
	longestPause  = 5 * time.Minute // between two tries of what fails
)

// Admit lets a workspace be opened that has the migrations of this program, and gives them to one that lacks some. It is a pg.Gate.
//
// A workspace that is known to be current costs nothing. The first touch of another costs one query; when the workspace is behind it is
// migrated, once however many ask, and the caller waits for that a moment. A migration that fails, or takes longer, is a LackingError: this one
// workspace is not available. It is tried again after a pause that doubles.
func (t *Tenancy) Admit(ctx context.Context, w pg.Workspace, lacks error) error {
	s, err := t.touch(ctx, w, lacks)
	if err != nil || s == nil {
		return err
	}
	if !s.Ours {
		return t.lack(*s, ErrForeign, time.Minute)
	}
	select {
	case <-t.try(w):
	case <-time.After(touchPatience):
		return t.lack(*s, nil, time.Second)
	case <-ctx.Done():
		return ctx.Err()
	}
	if wait, why := t.outcome(w); why != nil {
		return t.lack(*s, errors.New(why.Error()), wait) // as a text: it is no outage, and no lost connection, of the caller
	}
	if lacks != nil { // what failed is asked again
		return t.lack(*s, nil, time.Second)
	}
	return nil
}

// Inspect is Admit for a program that migrates nothing.
func (t *Tenancy) Inspect(ctx context.Context, w pg.Workspace, lacks error) error {
	s, err := t.touch(ctx, w, lacks)
	if err != nil || s == nil {
		return err
	}
	return t.lack(*s, s.why(), time.Minute)
}

// touch looks a workspace up unless it is known to be current. It gives nil for one that may be opened, and for one that there is
// not: Postgres refuses that.
func (t *Tenancy) touch(ctx context.Context, w pg.Workspace, lacks error) (*programView, error) {
	if _, current := t.fleet.current.Load(w.ID); current && lacks == nil {
		return nil, nil
	}
	found, err := t.workspaceViews(ctx, selectWorkspaces+`id = $3`, w.ID)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	s := &found[0]
	switch {
	case s.Status == "erasing":
		return nil, pg.Shut(lacks)
	case !s.Ours || s.Version < len(t.workspaceLine):
		if lacks != nil {
			t.fleet.current.Delete(w.ID) // the database was put back
		}
		return s, nil
	case lacks != nil && s.Version > len(t.workspaceLine): // the newer program has taken away what this one needs
		return nil, ErrNewer
	}
	t.fleet.current.Store(w.ID, true)
	return nil, nil
}

func (t *Tenancy) lack(s programView, why error, wait time.Duration) *LackingError {
	return &LackingError{Workspace: s.Slug, Has: s.Version, Needs: len(t.workspaceLine), Why: why, Wait: wait}
}

// try gives a channel that is closed when the try under way has ended. It begins one, unless the last one failed too short a
// while ago.
func (t *Tenancy) try(w pg.Workspace) <-chan struct{} {
	t.fleet.mu.Lock()
	defer t.fleet.mu.Unlock()
	if _, current := t.fleet.current.Load(w.ID); current { // since it was looked up
		return closed
	}
	e := t.fleet.efforts[w.ID]
	if e == nil {
		e = &effort{done: make(chan struct{})}
		t.fleet.efforts[w.ID] = e
		go t.work(w, e)
	} else if e.ended() && time.Now().After(e.again) {
		e.done = make(chan struct{})
		go t.work(w, e)
	}
	return e.done
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (e *effort) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// work is one try.
func (t *Tenancy) work(w pg.Workspace, e *effort) {
	t.fleet.slots <- struct{}{}
	err := t.migrateOne(t.life, w)
	<-t.fleet.slots
	t.fleet.mu.Lock()
	defer t.fleet.mu.Unlock()
	defer close(e.done)
	switch {
	case err == nil:
		delete(t.fleet.efforts, w.ID)
		t.fleet.current.Store(w.ID, true)
		t.Log.Info("workspace migrated", "workspace", w.ID)
		return
	case t.life.Err() != nil:
	case e.err == nil || e.err.Error() != err.Error():
		t.Log.Error("a workspace could not be migrated, is not available until it is, and is tried again", "workspace", w.ID, "error", err.Error())
	}
	e.err, e.again = err, time.Now().Add(min(time.Second<<min(e.failures, 10), longestPause))
	e.failures++
}

// outcome is why the last try failed, and when there is another; nil when it did not.
func (t *Tenancy) outcome(w pg.Workspace) (wait time.Duration, why error) {
	t.fleet.mu.Lock()
	defer t.fleet.mu.Unlock()
	if e := t.fleet.efforts[w.ID]; e != nil && e.err != nil {
		return max(time.Until(e.again), time.Second), e.err
	}
	return 0, nil
}

// Keep migrates the workspaces that lack migrations, a few at once, until none does or ctx ends. It is for beside serving:
// what fails is tried again.
func (t *Tenancy) Keep(ctx context.Context) error {
	for {
		lacking, err := t.lacking(ctx)
		if ctx.Err() != nil || err == nil && len(lacking) == 0 {
			return nil //nolint:nilerr // told to end
		}
		var group errgroup.Group
		group.SetLimit(atOnce)
		for _, s := range lacking {
			group.Go(func() error {
				if s.Ours {
					select {
					case <-t.try(pg.Workspace{ID: s.ID}):
					case <-ctx.Done():
					}
				}
				return nil
			})
		}
		_ = group.Wait() // none gives an error
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// Close breaks off what is being migrated for a request or by Keep: it is done again by the next process.
func (t *Tenancy) Close() { t.end() }
