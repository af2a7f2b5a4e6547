package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
	"github.com/kluis-eu/kluis/projections"
)

// Request says which member asks for a command, from where, and under which conditions.
type Request struct {
	By      projections.Actor
	Origin  Origin
	IfMatch []int // only when the thing is at one of these versions; nil for any
	Once    *Once // nil: the request has no idempotency key

	Original *domain.Original // time and author of an imported action; nil for any other request

	renew func(context.Context, projections.Actor) (*projections.Actor, error) // reads By anew; nil: by its session or token
}

// Once is an idempotency key, with a fingerprint of the request that has it.
type Once = eventstore.Key

// Result is the outcome of a command: the state of the thing afterwards.
type Result[T any] struct {
	State    T
	Position int64 // a read at this position or later shows the state
	Repeated bool  // an earlier request with the same key did it
}

// maxAttempts bounds how often one command decides. Each attempt reads fresher read models than the one before.
const maxAttempts = 30

// attempt is one try at deciding. A decision reads everything through read, if possible in one round trip.
type attempt struct {
	projections *projections.Projections
	by          projections.Actor
	from        Origin
	once        *Once
	original    *domain.Original
	mark        *projections.Mark  // of the first read: the decision is no fresher than that
	alive       bool               // whether the session was there at the first read; it may end while a body is on its way
	first       []eventstore.Found // the first use of the key; empty when the key is new
}

// errUsed ends a decision whose idempotency key was used before. The first read finds the key, so a repeated request has no second effect, and
// neither has another request with the same key.
//
// Two processes may read at the same instant, and find no key. Then both go on, and one of the two appends is refused.
var errUsed = errors.New("the idempotency key was used before")

// begin is the first read of a decision. A decision that reads nothing skips that read, and the append proves the caller instead.
func (a *attempt) begin(ctx context.Context, query ...pg.Statement) error {
	if len(query) == 0 && a.once == nil && projections.ClaimIn(ctx).Provable() {
		return nil
	}
	return a.read(ctx, query...)
}

// read reads what the decision needs. The first read also checks that the session is alive and that the idempotency key is new.
func (a *attempt) read(ctx context.Context, query ...pg.Statement) error {
	if a.once != nil {
		query = append(query, eventstore.FindKey(&a.first, *a.once))
	}
	switch {
	case a.mark != nil:
	case projections.ClaimIn(ctx) != nil: // the read proves the claim, and with it the session
		a.alive = true
	default:
		query = append(query, projections.Alive(&a.alive, a.by))
	}
	mark, err := a.projections.Read(ctx, a.by.Workspace, query...)
	if err == nil && a.mark == nil {
		a.mark = &mark
	}
	if err == nil && !a.alive {
		return sessionEnded()
	}
	if err == nil && len(a.first) > 0 {
		return errUsed
	}
	return err
}

// key is the idempotency key of the append, with the part of a repeated answer that is not in the events. A key that is kept outlives the
// events, so it also remembers the id of the thing.
func (a *attempt) key(answer string, w eventstore.Write) *Once {
	if a.once == nil {
		return nil
	}
	if a.once.Kept && len(w.Events) > 0 {
		about := projections.ThingOf(projections.Record{Stream: w.Stream, Type: w.Events[0].Type, Data: w.Events[0].Data})
		answer = `"` + about.ID.String() + `"`
	}
	return &Once{Key: a.once.Key, Fingerprint: a.once.Fingerprint, Kept: a.once.Kept, Answer: answer}
}

// sessionEnded refuses a caller whose session or token has ended.
func sessionEnded() error {
	return domain.Refuse(domain.Unauthenticated, "unauthenticated", "the session has ended")
}

// plan is the outcome of a decision: the events to append, and the versions that the decision relied on besides the roster and the streams
// that it writes.
type plan struct {
	stream   string
	version  int
	events   []domain.Event
	with     []write // to further streams in the same append, when there are events at all
	guarding []eventstore.Guard
	also     []pg.Statement // run before the events are stored, in their transaction
	asOwner  bool           // the owner runs the transaction, because the role of the workspace may not do all of also
	partly   bool           // a part of the request is refused, so the decision must be as fresh as for any refusal
	answer   string         // for a repeated request, besides the events; empty when these say all
}

// alone tells whether the plan is nothing but an append. Such an append can prove the caller by itself.
func (p plan) alone() bool { return len(p.events) > 0 && p.also == nil && !p.partly }

// write is events for a stream, with the version at which the stream was read.
type write struct {
	stream  string
	version int
	events  []domain.Event
}

// effect is the outcome of a command in the log.
type effect struct {
	records  []domain.Record // none for a no-op
	repeated bool            // the records, and the position, are of the first time that the key was used
	position int64
	answer   string // of the plan, when it is repeated

	about uuid.UUID // the thing that the records were about, when they were pruned since
}

// outcome names the end of a command for its metric.
func (e effect) outcome(err error) string {
	_, refused := domain.Refusal(err)
	switch {
	case refused:
		return "refused"
	case err != nil:
		return "failed"
	case e.repeated:
		return "repeated"
	case len(e.records) == 0:
		return "nothing"
	}
	return "done"
}

// change is the one loop of all commands by members:
//
//  1. decide reads, and returns a plan or a refusal.
//  2. The append stores the plan, unless a stream that the decision relied on has moved.
//  3. When a stream has moved, or when a refusal rests on read models that lack something of what was committed before the command
//     came, change catches up and begins again.
//
// So decide may run several times, and must have no effect of its own.
func (c *Commands) change(ctx context.Context, r Request, decide func(a *attempt) (plan, error)) (done effect, err error) {
	defer func() { telemetry.Commands.WithLabelValues(done.outcome(err)).Inc() }()
	if r.Once != nil {
		once, err := c.keyed(ctx, r)
		if err != nil {
			return effect{}, err
		}
		r.Once = once
		if _, busy := c.running.LoadOrStore(r.Once.Key, true); busy {
			return effect{}, domain.Refuse(domain.Conflict, "idempotency_key_in_use", "a request with this Idempotency-Key is still running")
		}
		defer c.running.Delete(r.Once.Key)
	}
	by := r.By
	var asked int64 // the head when the command came; a refusal, or a decision that changes nothing, must have seen it
	for try := range maxAttempts {
		if err := backOff(ctx, try); err != nil {
			return effect{}, err
		}
		a := &attempt{projections: c.Projections, by: by, from: r.Origin, once: r.Once, original: r.Original}
		p, err := decide(a)
		if err == nil && a.mark == nil && !(p.alone() && projections.ClaimIn(ctx).Provable()) {
			err = a.read(ctx)
		}
		if errors.Is(err, errUsed) {
			return c.repeat(ctx, by, *a.once, a.first[0])
		}
		if try == 0 && a.mark != nil {
			asked = a.mark.Head
		}
		nothing := err == nil && len(p.events) == 0 && a.once == nil // with a key, the append stores that nothing changed
		if nothing && !a.behind(asked) {
			return effect{position: a.mark.Position}, nil
		}
		if stale := err == nil && p.partly && a.behind(asked); err == nil && !nothing && !stale {
			var done effect
			if done, err = c.append(ctx, a, p); err == nil {
				return done, nil
			}
		}
		if err != nil && !retryable(a, asked, err) {
			return effect{}, refusal(err)
		}
		telemetry.Retries.Inc()
		if by, err = c.catchUp(ctx, r, by); err != nil {
			return effect{}, err
		}
	}
	return effect{}, contended()
}

// contended refuses a command that lost against other commands at every attempt.
func contended() error {
	busy := domain.Refuse(domain.Unavailable, "contended", "other requests changed the same thing at each of %d attempts: send the request again", maxAttempts)
	busy.RetryAfter = time.Second
	return busy
}

// keyed replaces the fingerprint of a request by one that is keyed with the workspace's secret. The fingerprint is stored for a day, and the
// reader of a plain hash could guess the personal data in the request.
func (c *Commands) keyed(ctx context.Context, r Request) (*Once, error) {
	own, err := c.Vault.Key(ctx, r.By.Workspace, r.By.Workspace.ID)
	if err != nil {
		return nil, err
	}
	return &Once{Key: r.Once.Key, Kept: r.Once.Kept, Fingerprint: [32]byte(own.MAC("request", string(r.Once.Fingerprint[:])))}, nil
}

// backOff waits before an attempt, so that many commands on one stream get through one after the other. The first two attempts do not
// wait. A later one waits for a random time of at most 60 ms.
func backOff(ctx context.Context, try int) error {
	if try < 2 {
		return nil
	}
	longest := min(time.Duration(try*try)*time.Millisecond, 60*time.Millisecond)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(rand.N(longest)): //nolint:gosec // spreads load, guards nothing
		return nil
	}
}

// retryable tells whether another attempt can end differently: a stream has moved, or a refusal rests on read models that lack an event from
// before the command.
func retryable(a *attempt, asked int64, err error) bool {
	var moved *eventstore.MovedError
	if errors.As(err, &moved) {
		return true
	}
	_, refused := domain.Refusal(err)
	return refused && a.behind(asked)
}

// behind tells whether the decision read less than what was committed when the command came.
func (a *attempt) behind(asked int64) bool {
	return a.mark != nil && (a.mark.Position < asked || a.mark.Roster != a.by.Roster)
}

// catchUp brings the read models to the head, and reads the caller's role anew.
func (c *Commands) catchUp(ctx context.Context, r Request, by projections.Actor) (projections.Actor, error) {
	if _, err := c.Projections.CatchUp(ctx, by.Workspace); err != nil {
		return by, err
	}
	renew := c.Projections.Again
	if r.renew != nil {
		renew = r.renew
	}
	again, err := renew(ctx, by)
	if err != nil {
		return by, err
	}
	if again == nil {
		return by, sessionEnded()
	}
	return *again, nil
}

// append stores a plan, with what the plan relied on as guards.
func (c *Commands) append(ctx context.Context, a *attempt, p plan) (effect, error) {
	claim := projections.ClaimIn(ctx) // nil when the caller is proven
	if len(p.events) == 0 {
		p.with = nil
	}
	var writes []eventstore.Write
	for _, w := range append([]write{{p.stream, p.version, p.events}}, p.with...) {
		encoded, err := encode(w.stream, w.version, w.events, a.original)
		if err != nil {
			return effect{}, err
		}
		writes = append(writes, encoded)
	}
	from := a.from
	from.Token = a.by.Token
	meta, err := c.sealOrigin(ctx, a.by.Workspace, a.by.Member, from)
	if err != nil {
		return effect{}, fmt.Errorf("seal where the request came from: %w", err)
	}
	p.guarding = append(p.guarding, eventstore.Guard{Stream: domain.RosterStream, Version: a.by.Roster})
	receipt, err := c.store(ctx, a.by.Workspace, eventstore.Append{
		Actor: a.by.Member, Meta: meta, Writes: writes, Guards: p.guarding, Proof: claim.Proof(), Key: a.key(p.answer, writes[0]),
	}, p.also, p.asOwner)
	if err = c.Projections.Settle(claim, err); err != nil {
		return effect{}, err
	}
	if receipt.Repeated {
		return c.repeat(ctx, a.by, *a.once, eventstore.Found{First: receipt.First, Last: receipt.Last, Same: true, Answer: receipt.Answer})
	}
	records, err := projections.Decode(receipt.Records)
	return effect{records: records, position: receipt.Last}, err
}

// store appends, and runs the plan's further statements in the same transaction.
func (c *Commands) store(ctx context.Context, w pg.Workspace, a eventstore.Append, also []pg.Statement, asOwner bool) (receipt eventstore.Receipt, err error) {
	if also == nil {
		return c.Store.Append(ctx, w, a)
	}
	in := c.DB.In
	if asOwner {
		in = c.DB.InAsOwner
	}
	err = in(ctx, w, func(tx *pg.Tx) error {
		if err := tx.Run(ctx, also...); err != nil {
			return err
		}
		var err error
		receipt, err = c.Store.AppendIn(ctx, tx.Run, w, a)
		if err == nil && receipt.Repeated {
			err = errUsed // the statements in also ran the first time
		}
		return err
	})
	switch {
	case errors.Is(err, errUsed):
		return receipt, nil
	case pg.Is(err, pg.UniqueViolation, pg.Deadlock): // another command was quicker, and the decision did not see it
		return receipt, &eventstore.MovedError{Stream: a.Writes[0].Stream, Expected: a.Writes[0].Expected}
	case err == nil:
		c.Store.Appended(w, receipt)
	}
	return receipt, err
}

// repeat answers a command whose key was used before. The answer is the effect of the first request, which may have been none. When its events
// were pruned, a kept key still knows the id of the thing. For any other key the error says that the records are gone.
func (c *Commands) repeat(ctx context.Context, by projections.Actor, once Once, first eventstore.Found) (effect, error) {
	if !first.Same {
		return effect{}, refusal(&eventstore.KeyReusedError{})
	}
	done := effect{repeated: true, position: first.Last, answer: first.Answer}
	if first.First > first.Last {
		return done, nil
	}
	var err error
	if done.records, err = c.Projections.Range(ctx, by.Workspace, first.First, first.Last); err != nil || len(done.records) > 0 {
		return done, err
	}
	if !once.Kept {
		_, err := c.Projections.Begin(ctx, by.Workspace, first.First)
		return done, err
	}
	err = json.Unmarshal([]byte(first.Answer), &done.about)
	return done, err
}

// result folds the appended events into before, the state on which the command decided. For a repeated command it reads the state after the
// first request, whatever became of the thing since, and uses only the id of before.
func result[T any](ctx context.Context, c *Commands, r Request, model *projections.Model[T], before T, done effect, err error) (Result[T], error) {
	if err != nil {
		return Result[T]{}, err
	}
	id := model.ID(before)
	for i := 0; id == uuid.Nil && i < len(done.records); i++ { // the command made the thing
		id = model.Row(done.records[i])
	}
	if id == uuid.Nil {
		id = done.about
	}
	if done.repeated {
		upTo := done.position
		if len(done.records) > 0 {
			upTo = done.records[0].Position - 1
		}
		if before, err = model.At(ctx, c.Projections, r.By.Workspace, id, upTo); err != nil {
			return Result[T]{}, err
		}
	}
	for _, record := range done.records {
		if model.Changes(record, id) { // other records are of things that changed along with this one
			model.Apply(&before, record)
		}
	}
	return Result[T]{State: before, Position: done.position, Repeated: done.repeated}, nil
}

// encode turns events of the domain into a write for the event store.
func encode(stream string, version int, events []domain.Event, was *domain.Original) (eventstore.Write, error) {
	w := eventstore.Write{Stream: stream, Expected: version}
	for _, e := range events {
		data, err := json.Marshal(e)
		if err == nil {
			data, err = domain.WithOriginal(data, was)
		}
		if err != nil {
			return w, fmt.Errorf("encode %s: %w", domain.TypeOf(e), err)
		}
		w.Events = append(w.Events, eventstore.Event{Type: domain.TypeOf(e), Data: data})
	}
	return w, nil
}

// refusal turns errors of the event store into refusals of the domain.
func refusal(err error) error {
	var busy *eventstore.BusyError
	var unknown *eventstore.UnknownOutcomeError
	var reused *eventstore.KeyReusedError
	switch {
	case errors.As(err, &busy) && busy.Cause == nil: // else it is an outage
		r := domain.Refuse(domain.Unavailable, "busy", "too much is being written in this workspace")
		r.RetryAfter = time.Second
		return r
	case errors.As(err, &unknown):
		r := domain.Refuse(domain.Unavailable, "outcome_unknown",
			"the answer of the database was lost: send the request again with the same Idempotency-Key, or read what it did")
		r.RetryAfter = 5 * time.Second
		return errors.Join(r, err)
	case errors.As(err, &reused):
		return domain.Refuse(domain.Invalid, "idempotency_key_reused", "this Idempotency-Key was used for another request")
	}
	return err
}

// allow refuses an actor whose role does not grant p over any scope.
func allow(by projections.Actor, p domain.Permission) error {
	if by.TwoFactor.MustEnrol() {
		return domain.EnrolFirst()
	}
	if by.Role.Grants.Allow(p) {
		return nil
	}
	return domain.Refuse(domain.Forbidden, "forbidden", "your role %q does not grant %s", by.Role.Name, p)
}

// allowOn refuses an actor whose role does not grant p on a thing within reach.
func allowOn(by projections.Actor, p domain.Permission, reach domain.Reach) error {
	if by.TwoFactor.MustEnrol() {
		return domain.EnrolFirst()
	}
	if by.Scope(p).Reaches(reach) {
		return nil
	}
	return domain.Refuse(domain.Forbidden, "forbidden", "your role %q does not grant %s here", by.Role.Name, p)
}

// allowInto refuses to put a thing into a project for which the role does not grant that. A scope narrower than all ends at the projects
// that the actor has to do with. Otherwise scope own would reach further than scope project, because everything that a member makes is the
// member's own.
func allowInto(by projections.Actor, p domain.Permission, into projections.Row[domain.Project]) error {
	if by.Scope(p) == domain.All || domain.InProject.Reaches(into.Reach) {
		return nil
	}
	return domain.Refuse(domain.Forbidden, "forbidden", "your role %q grants %s only in projects of which you are a member, and %s is none of them",
		by.Role.Name, p, into.State.Key)
}

// inSession refuses an API token, because a token that leaked must not change how members are protected.
func inSession(by projections.Actor) error {
	if by.Session == uuid.Nil {
		return domain.SessionFirst()
	}
	return nil
}

// match refuses when the thing is not at the version that the caller saw.
func (r Request) match(version int) error {
	if r.IfMatch != nil && !slices.Contains(r.IfMatch, version) {
		return domain.Refuse(domain.Stale, "stale", "it is at version %d, which is none of %v: read it again", version, r.IfMatch)
	}
	return nil
}
