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

// LackingError says that the control schema, or a workspace, lacks migrations that this program needs.
type LackingError struct {
	Workspace  string // empty: the control schema
	Has, Needs int
	Why        error         // why it did not get them; nil when nobody has tried yet, or a try is under way
	Wait       time.Duration // after which the caller may ask again
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

// Lost tells pg.Lost that no connection is lost.
func (e *LackingError) Lost() bool { return false }

// ErrNewer says that a newer program has migrated the database, and that this one cannot use it.
var ErrNewer error = newerError{}

type newerError struct{}

func (newerError) Error() string { return "it was migrated by a newer kluis" }
func (newerError) Lost() bool    { return false }

// fleet is what a process knows of the workspaces: which it may serve, and which it is migrating.
type fleet struct {
	current sync.Map // by id: workspaces that had all migrations when the process looked
	granted sync.Map // by id: when this process gave their grants again to workspaces that lacked something else

	slots   chan struct{} // has an element for each migration under way
	mu      sync.Mutex
	efforts map[uuid.UUID]*effort
}

// effort is what a process does to give a workspace its migrations, in one try or several. It is forgotten when it succeeds.
type effort struct {
	done     chan struct{} // closed when the last try has ended
	err      error         // of the last try
	failures int           // in a row
	again    time.Time     // when the next try may begin
}

const (
	touchPatience = 2 * time.Second // how long a request waits for the migration that it has caused
	atOnce        = 4               // migrations in one process
	grantPause    = time.Minute     // between two times that a workspace gets its grants again, which may not be what it lacks
	longestPause  = 5 * time.Minute // between two tries of what fails
	outagePause   = 5 * time.Second // and of what the database cannot do at the moment
)

// Admit lets a workspace be opened that has the migrations of this program, and gives them to one that lacks some. It is a pg.Gate.
//
//  1. A workspace that is known to be current costs nothing.
//  2. The first touch of any other costs one query. When the workspace is behind, it is migrated, once for all requests that come.
//  3. The caller waits for that for touchPatience. A migration that fails, or takes longer, is a LackingError: this one workspace is not
//     available.
//  4. After a failure the next try begins after a pause, which doubles with each.
//  5. A workspace that has all migrations and lacks something all the same gets its grants again, as at a start, because somebody may have revoked
//     one.
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
		return t.lack(*s, errors.New(why.Error()), wait) // as a text, because an outage of the migration is none of the caller's
	}
	if lacks != nil { // the caller's statement has failed, and may succeed now
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

// touch looks a workspace up, unless it is known to be current. It returns nil for a workspace that may be opened, and for an id that no
// workspace has, which Postgres refuses.
func (t *Tenancy) touch(ctx context.Context, w pg.Workspace, lacks error) (*migrated, error) {
	if _, current := t.fleet.current.Load(w.ID); current && lacks == nil {
		return nil, nil
	}
	found, err := t.migratedOf(ctx, selectWorkspaces+`id = $3`, w.ID)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	s := &found[0]
	switch {
	case s.Status == "erasing":
		return nil, pg.NewClosedError(lacks)
	case !s.Ours || s.Version < len(t.workspaceMigrations):
		if lacks != nil {
			t.fleet.current.Delete(w.ID) // an older copy of the database was restored
		}
		return s, nil
	case lacks != nil && s.Version > len(t.workspaceMigrations): // the newer program has removed what this one needs
		return nil, ErrNewer
	case pg.Is(lacks, pg.UndefinedTable, pg.AccessDenied, pg.NoSuchSchema) && s.Status == active && t.mayGrant(w):
		t.fleet.current.Delete(w.ID)
		return s, nil
	}
	t.fleet.current.Store(w.ID, true)
	return nil, nil
}

// mayGrant tells whether to give a workspace its grants again: all requests of a moment wait for the same try, and the next try comes after a pause.
func (t *Tenancy) mayGrant(w pg.Workspace) bool {
	now := time.Now()
	last, known := t.fleet.granted.LoadOrStore(w.ID, now)
	since := now.Sub(last.(time.Time))
	if since > grantPause {
		t.fleet.granted.Store(w.ID, now)
	}
	return !known || since < touchPatience || since > grantPause
}

func (t *Tenancy) lack(s migrated, why error, wait time.Duration) *LackingError {
	return &LackingError{Workspace: s.Slug, Has: s.Version, Needs: len(t.workspaceMigrations), Why: why, Wait: wait}
}

// try returns a channel that is closed when the try under way has ended. It begins a try unless the last one failed too short a while
// ago.
func (t *Tenancy) try(w pg.Workspace) <-chan struct{} {
	t.fleet.mu.Lock()
	defer t.fleet.mu.Unlock()
	if _, current := t.fleet.current.Load(w.ID); current { // another request's try has succeeded
		return endedAlready
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

// endedAlready is a closed channel.
var endedAlready = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (e *effort) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// work does one try.
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
	e.err, e.again = err, time.Now().Add(pause(err, e.failures))
	e.failures++
}

// pause returns how long to wait after so many failures. A lock that somebody holds is tried less and less often, because the readers of older processes
// wait behind each try. Any other outage ends for all workspaces at once.
func pause(err error, failures int) time.Duration {
	longest := longestPause
	if outage, is := pg.OutageOf(err); is && outage != pg.Busy {
		longest = outagePause
	}
	return min(time.Second<<min(failures, 10), longest)
}

// outcome returns why the last try failed, and how long to wait for the next; nil when it did not fail.
func (t *Tenancy) outcome(w pg.Workspace) (wait time.Duration, why error) {
	t.fleet.mu.Lock()
	defer t.fleet.mu.Unlock()
	if e := t.fleet.efforts[w.ID]; e != nil && e.err != nil {
		return max(time.Until(e.again), time.Second), e.err
	}
	return 0, nil
}

// KeepMigrating migrates the workspaces that lack migrations, a few at once, until none does or ctx ends. It runs beside serving: what fails
// is tried again.
func (t *Tenancy) KeepMigrating(ctx context.Context) error {
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
		_ = group.Wait() // no function returns an error
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// Close breaks off the migrations for requests and those of KeepMigrating. The next process does them again.
func (t *Tenancy) Close() { t.end() }
