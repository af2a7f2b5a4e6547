package projections

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Record and Filter are those of the event store: an auditor sees the records as they are stored.
type (
	Record = eventstore.Record
	Filter = eventstore.Filter
)

// ListRecords answers with at most limit records that a filter chooses, the newest first, and with the position before which the list goes on;
// 0 at the end. A page may be short, or empty, before the end: see eventstore.Filter.
func (p *Projections) ListRecords(ctx context.Context, by Actor, f Filter, limit int) (records []Record, before int64, mark Mark, err error) {
	var chosen eventstore.Chosen
	var head eventstore.Head
	mark, err = p.Read(ctx, by.Workspace, eventstore.LookHead(&head), pg.PlanEach(), eventstore.Newest(&chosen, f, limit+1))
	if err == nil {
		err = sinceHorizon(head, f.From, f.To)
	}
	mark.Position = mark.Head // the log itself is never behind
	before = chosen.LookedTo
	if len(chosen.Positions) > limit {
		chosen.Positions = chosen.Positions[:limit]
		before = chosen.Positions[limit-1]
	}
	if err == nil && len(chosen.Positions) > 0 {
		err = p.db.Read(ctx, by.Workspace, eventstore.At(&records, chosen.Positions))
	}
	return records, before, mark, err
}

// Chosen gives fn the records that a filter chooses, a page at a time, the oldest first, in constant memory. Chosen ends with an error when the
// actor may no longer read the log, and with a GapError when the filter chooses every record up to f.UpTo and the log lacks one.
func (p *Projections) Chosen(ctx context.Context, by Actor, f Filter, fn func([]Record) error) error {
	every, last := f.Every(), int64(-1)
	for {
		var chosen eventstore.Chosen
		var records []Record
		var head eventstore.Head
		if err := p.db.Read(ctx, by.Workspace, eventstore.LookHead(&head), pg.PlanEach(), eventstore.Oldest(&chosen, f, eventstore.PageEvents)); err != nil {
			return err
		}
		if f.After > 0 && head.Pruned > f.After { // the log was pruned meanwhile
			return head.Wants(f.After + 1)
		}
		if last < 0 {
			last = max(f.After, head.Pruned)
		}
		if len(chosen.Positions) > 0 {
			if err := p.db.Read(ctx, by.Workspace, eventstore.LightestAt(&records, chosen.Positions)); err != nil {
				return err
			}
		}
		again, err := p.Again(ctx, by)
		if err == nil && (again == nil || !again.Role.Grants.Allow(domain.ReadAudit)) {
			err = errNoReader
		}
		if err != nil {
			return err
		}
		n := len(records)
		whole := n
		if every {
			for whole = 0; whole < n && records[whole].Position == last+1; whole++ {
				last++
			}
		}
		if whole > 0 {
			if err := fn(records[:whole]); err != nil {
				return err
			}
		}
		switch {
		case whole < n:
			return &eventstore.GapError{Want: last + 1, Got: records[whole].Position}
		case n > 0 && (n < len(chosen.Positions) || n == eventstore.PageEvents):
			f.After = records[n-1].Position
		case chosen.LookedTo > 0:
			f.After = chosen.LookedTo
		case every && last < f.UpTo:
			return &eventstore.GapError{Want: last + 1}
		default:
			return nil
		}
	}
}

// Within refuses a filter for records before the horizon. When the filter chooses every record behind a position, and the log lacks the next
// one, the error is a GapError.
func (p *Projections) Within(ctx context.Context, w pg.Workspace, f Filter) error {
	var head eventstore.Head
	var first []eventstore.Stop
	if err := p.db.Read(ctx, w, eventstore.LookHead(&head), eventstore.NextTo(&first, f.After)); err != nil {
		return err
	}
	if f.After > 0 && f.After < head.Pruned {
		if err := pruned(head.Wants(f.After + 1)); err != nil {
			return err
		}
	}
	if f.Every() {
		if err := head.GoesOn(f.After, first); err != nil {
			return err
		}
	}
	return sinceHorizon(head, f.From, f.To)
}

// sinceHorizon refuses moments before the horizon.
func sinceHorizon(head eventstore.Head, moments ...*time.Time) error {
	for _, at := range moments {
		if at != nil && head.PrunedAt != nil && at.Before(*head.PrunedAt) {
			return domain.Pruned(head.Pruned, *head.PrunedAt)
		}
	}
	return nil
}

// pruned turns a PrunedError into a refusal of the domain.
func pruned(err error) error {
	if gone, is := errors.AsType[*eventstore.PrunedError](err); is {
		return domain.Pruned(gone.UpTo, gone.At)
	}
	return err
}

// AboutThing chooses the records of the thing with an id, of any noun. Records of other things that name the id are not among them.
func AboutThing(id uuid.UUID) *eventstore.About {
	about := &eventstore.About{ID: id, Own: []string{domain.AccountStream(id)}, Fields: []string{"member_id", "role_id", "tag_id", "export_id"}}
	for _, noun := range domain.Nouns() {
		about.Own = append(about.Own, noun+"-"+id.String())
	}
	about.Streams = append([]string{domain.RosterStream, domain.TagsStream, domain.ExportsStream, domain.SecurityStream}, about.Own...)
	return about
}

// heartbeat is how often a follower reads the log without a ring, and checks that its actor may still read it.
const heartbeat = 5 * time.Second

// Replay gives fn the records of the workspace from a position on, the oldest first, in constant memory. flush is called whenever there is no
// further record for the moment. With follow, Replay goes on with new records until one of these ends it:
//
//   - ctx ends.
//   - The actor may no longer read the log, which without follow is an error. After each record of the roster that was committed since the call, Replay checks the actor
//     before it shows the next record.
//   - Another epoch of the log begins.
func (p *Projections) Replay(ctx context.Context, by Actor, epoch int, from int64, follow bool, fn func(Record) error, flush func() error) error {
	asked, err := p.Read(ctx, by.Workspace)
	if err != nil {
		return err
	}
	// ended is the result once the actor may read no more: a follower's stream is at its end, and any other is broken off
	ended := func() error {
		if follow {
			return flush()
		}
		return errNoReader
	}
	again, err := p.Again(ctx, by)
	if err != nil {
		return err
	}
	if again == nil || !again.Role.Grants.Allow(domain.ReadAudit) {
		return ended() // an event that took the role away before this read counts as committed before the call
	}
	show := func(r Record) error {
		if err := fn(r); err != nil {
			return err
		}
		if r.Stream == domain.RosterStream && r.Position > asked.Head {
			return errRoster
		}
		return nil
	}
	for {
		rung := p.bell.Of(by.Workspace)
		next, err := p.store.EachOf(ctx, by.Workspace, epoch, from, show)
		if follow && errors.Is(err, eventstore.ErrOtherEpoch) {
			return flush() // the client learns from which position to go on
		}
		moved := errors.Is(err, errRoster)
		if moved {
			next++ // fn has had the record of the roster
		} else if err != nil {
			return err
		}
		from = next
		if !moved {
			if err := flush(); err != nil || !follow {
				return err
			}
			if err := awaitRing(ctx, rung); err != nil {
				return err
			}
		}
		again, err := p.Again(ctx, by)
		if err != nil {
			return err
		}
		if again == nil || !again.Role.Grants.Allow(domain.ReadAudit) {
			return ended()
		}
	}
}

// Epoch gives the epoch of a workspace's log. Each restore from a backup begins another one.
func (p *Projections) Epoch(ctx context.Context, w pg.Workspace) (int, error) {
	return p.Begin(ctx, w, 0)
}

// Begin gives the epoch for reading the log from a position on; 0 means from the first record that is kept. A position before the horizon is
// refused. When the log lacks the record at the position, the error is a GapError: so a reader whose replay broke off there learns why.
func (p *Projections) Begin(ctx context.Context, w pg.Workspace, from int64) (epoch int, err error) {
	var head eventstore.Head
	var first []eventstore.Stop
	if err := p.db.Read(ctx, w, eventstore.LookHead(&head), eventstore.NextTo(&first, from-1)); err != nil {
		return 0, err
	}
	if from > 0 {
		err = pruned(head.Wants(from))
	}
	if err == nil {
		err = head.GoesOn(from-1, first)
	}
	return head.Epoch, err
}

var (
	errRoster   = errors.New("the roster moved") // interrupts a replay after a record of the roster
	errNoReader = errors.New("the caller may no longer read the log")
)

func awaitRing(ctx context.Context, rung <-chan struct{}) error {
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-rung:
	case <-timer.C:
	}
	return nil
}

// Range reads the records of a workspace from first to last, for the answer to a repeated command.
func (p *Projections) Range(ctx context.Context, w pg.Workspace, first, last int64) ([]domain.Record, error) {
	var stored []Record
	if err := p.db.Read(ctx, w, eventstore.Range(&stored, first, last)); err != nil {
		return nil, err
	}
	return Decode(stored)
}
