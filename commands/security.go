package commands

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// SecurityWindow is how long equal incidents are counted before the log tells of them once more.
const SecurityWindow = time.Minute

// The limits of one window, which bound the events of the log and the memory of a process.
const (
	mostIncidents    = 200    // different incidents of a workspace
	mostAllIncidents = 20_000 // different incidents of all workspaces
	mostThings       = 10     // ids that an event names
)

// incident is something that the log tells of although nothing was changed: a request that was refused, a log-in that failed, a read of the log.
// Incidents with equal fields are counted together.
type incident struct {
	in        pg.Workspace
	kind      incidentKind
	actor     uuid.UUID // uuid.Nil for a caller who has not proven an identity
	member    uuid.UUID // the account that the incident is about; uuid.Nil for none
	token     uuid.UUID // the API token of the request; uuid.Nil for none
	operation string
	code      string
	noun      string // of the things that the request named
}

type incidentKind int

const (
	accessDenied incidentKind = iota
	rateLimited
	loginFailed
	loginRefused
	logRead
	logExported
	truncated
)

// tally counts an incident.
type tally struct {
	count  int
	things []uuid.UUID // the first things that the requests named
	from   Origin      // of the first request
}

func (t *tally) add(more tally) {
	if t.count == 0 {
		t.from = more.from
	}
	t.count += more.count
	for _, thing := range more.things {
		if len(t.things) < mostThings && !slices.Contains(t.things, thing) {
			t.things = append(t.things, thing)
		}
	}
}

// event makes the event of an incident.
func (i incident) event(t tally) domain.Event {
	var token *uuid.UUID
	if i.token != uuid.Nil {
		token = &i.token
	}
	switch i.kind {
	case rateLimited:
		return domain.SecurityRateLimited{Operation: i.operation, TokenID: token, Count: t.count}
	case loginFailed:
		return domain.SecurityLoginFailed{Operation: i.operation, Code: i.code, Count: t.count}
	case loginRefused:
		return domain.MemberLoginRefused{MemberID: i.member, Operation: i.operation, Code: i.code, Count: t.count}
	case logRead:
		return domain.SecurityLogRead{Operation: i.operation, TokenID: token, Count: t.count}
	case logExported:
		return domain.SecurityLogExported{Operation: i.operation, TokenID: token, Count: t.count}
	case truncated:
		return domain.SecurityTruncated{Count: t.count}
	}
	return domain.SecurityAccessDenied{Operation: i.operation, Code: i.code, Noun: i.noun, ThingIDs: t.things, TokenID: token, Count: t.count}
}

// incidents counts incidents, so that a flood of them makes few events:
//
//  1. The first incident of its kind in a window is recorded at once, in the background.
//  2. Equal incidents are counted. The end of the window records each count as one event, and forgets the counts.
//  3. When a workspace has mostIncidents different incidents in a window, further different ones are counted together.
//
// An incident that could not be recorded is counted in the next window. A process that is killed loses the counts of its window. A process that ends
// records them.
type incidents struct {
	window time.Duration // 0: nothing is recorded
	record func(context.Context, incident, tally) error

	mu       sync.Mutex
	counted  map[incident]*tally
	kinds    map[pg.Workspace]int
	timer    *time.Timer // nil while nothing is counted
	sweeping sync.Mutex
	soon     later
}

// note counts an incident. thing is the id that the request named; uuid.Nil for none. note does not wait for the database.
func (s *incidents) note(i incident, from Origin, thing uuid.UUID) {
	if s.window == 0 {
		return
	}
	one := tally{count: 1, from: from}
	if thing != uuid.Nil {
		one.things = []uuid.UUID{thing}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, first := s.tally(i)
	if !first || !s.soon.do(context.Background(), func(ctx context.Context) { s.tell(ctx, i, one) }) {
		t.add(one)
	}
}

// tally gives the counter of an incident, and tells whether the incident is the first of its kind.
func (s *incidents) tally(i incident) (t *tally, first bool) {
	if t := s.counted[i]; t != nil {
		return t, false
	}
	first = i.kind != truncated
	if first && (s.kinds[i.in] >= mostIncidents || len(s.counted) >= mostAllIncidents) {
		return s.tally(incident{in: i.in, kind: truncated})
	}
	if s.counted == nil {
		s.counted, s.kinds = map[incident]*tally{}, map[pg.Workspace]int{}
		s.timer = time.AfterFunc(s.window, func() {
			ctx, cancel := context.WithTimeout(context.Background(), laterPatience)
			defer cancel()
			s.sweep(ctx)
		})
	}
	t = &tally{}
	s.counted[i] = t
	if first {
		s.kinds[i.in]++
	}
	return t, first
}

// tell records an incident. When that fails, the incident is counted again.
func (s *incidents) tell(ctx context.Context, i incident, counted tally) {
	if s.record(ctx, i, counted) == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _ := s.tally(i)
	t.add(counted)
}

// sweep ends the window: it records all counts, and forgets them.
func (s *incidents) sweep(ctx context.Context) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.mu.Lock()
	counted := s.counted
	if counted != nil {
		s.timer.Stop()
		s.counted, s.kinds, s.timer = nil, nil, nil
	}
	s.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(laterWorkers)
	for i, t := range counted {
		if t.count > 0 {
			group.Go(func() error { panics.Logged(ctx, s.soon.log, func() { s.tell(ctx, i, *t) }); return nil })
		}
	}
	_ = group.Wait() // no function returns an error
}

// left gives the number of incidents that are counted and not recorded.
func (s *incidents) left() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.counted {
		n += t.count
	}
	return n
}

// recordIncident appends an incident to the log, unless the workspace is gone.
func (c *Commands) recordIncident(ctx context.Context, i incident, t tally) error {
	stream, subject := domain.SecurityStream, i.actor
	switch {
	case i.member != uuid.Nil:
		stream, subject = domain.AccountStream(i.member), i.member
	case i.actor == uuid.Nil:
		subject = i.in.ID
	}
	meta, err := c.sealOrigin(ctx, i.in, subject, t.from)
	if err != nil {
		return err
	}
	write, err := encode(stream, eventstore.Any, []domain.Event{i.event(t)}, nil)
	if err != nil {
		return err
	}
	_, err = c.Store.Append(ctx, i.in, eventstore.Append{Actor: i.actor, Meta: meta, Writes: []eventstore.Write{write}})
	if pg.Is(err, pg.NoSuchRole) {
		return nil
	}
	return err
}

// NoteRefused records that a request of a member was refused: for lack of a permission, for a thing that the member does not see, or for a limit. Any
// other refusal concerns the form of the request, and is not recorded. noun and thing are what the path names; empty and uuid.Nil for nothing.
func (c *Commands) NoteRefused(by projections.Actor, from Origin, operation string, refused *domain.Error, noun string, thing uuid.UUID) {
	i := incident{in: by.Workspace, actor: by.Member, token: by.Token, operation: operation, code: refused.Code, noun: noun}
	switch refused.Kind {
	case domain.Forbidden, domain.NotFound:
	case domain.TooMany:
		i.kind, i.code, i.noun, thing = rateLimited, "", "", uuid.Nil
	default:
		return
	}
	c.incidents.note(i, from, thing)
}

// NoteLogRead records that a member reads the log.
func (c *Commands) NoteLogRead(by projections.Actor, from Origin, operation string) {
	c.incidents.note(incident{in: by.Workspace, kind: logRead, actor: by.Member, token: by.Token, operation: operation}, from, uuid.Nil)
}

// NoteLogExported records that a member exports the log.
func (c *Commands) NoteLogExported(by projections.Actor, from Origin, operation string) {
	c.incidents.note(incident{in: by.Workspace, kind: logExported, actor: by.Member, token: by.Token, operation: operation}, from, uuid.Nil)
}

// noteStranger records that a caller who named an account was refused before a password was compared, or sent a wrong code from a mail. The account is
// looked up in the background, because the answer must not tell whether it exists.
func (c *Commands) noteStranger(ctx context.Context, who accountName, from Origin, operation, code string) {
	if c.incidents.window == 0 {
		return
	}
	c.incidents.soon.do(ctx, func(ctx context.Context) {
		w, a, err := c.account(ctx, who)
		if err != nil || w == (pg.Workspace{}) {
			return
		}
		i := incident{in: w, kind: loginFailed, operation: operation, code: code}
		if a != nil {
			i.kind, i.member = loginRefused, a.ID
		}
		c.incidents.note(i, from, uuid.Nil)
	})
}
