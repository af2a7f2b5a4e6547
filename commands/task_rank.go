package commands

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// places has the tasks beside which tasks are put, as they were looked up and as the edits of the request change them.
type places struct {
	at    map[uuid.UUID]projections.Anchor
	ranks []string // the ranks that earlier edits of the request gave
}

func newPlaces(found []projections.Anchor) places {
	return places{at: byID(found, func(a projections.Anchor) (uuid.UUID, projections.Anchor) { return a.ID, a })}
}

// put gives a task its place in the order. It guards the task beside which the task is put. Two tasks that are put into one place at once may come in any
// order. Their ranks differ, because every rank ends in digits that are the task's own.
func (p *places) put(d *draft, w taskEdit, by projections.Actor, head int64) ([]domain.Event, error) {
	before, behind := w.change.Before, w.change.After
	if before == nil && behind == nil {
		return nil, nil
	}
	pointer, id := "/after", behind
	if before != nil {
		pointer, id = "/before", before
	}
	if before != nil && behind != nil {
		return nil, domain.InvalidField("/after", "cannot be given together with before")
	}
	beside, there := p.at[*id]
	if !there || !beside.Visible || *id == w.task.ID {
		return nil, domain.InvalidField(pointer, "must be the id of another task")
	}
	d.guard(domain.TaskStream(*id), beside.Version)
	d.rely(projections.ProjectGuard(by, beside.ProjectID, beside.ProjectVersion, domain.ReadTask)...)
	gap := p.gap(beside, before != nil)
	events, err := w.task.Put(gap, head)
	p.note(w.task.ID, events, gap)
	return events, err
}

// gap gives the free place directly before or after a task. Tasks that earlier edits put there limit it.
func (p *places) gap(beside projections.Anchor, before bool) domain.RankGap {
	gap := domain.RankGap{Low: beside.Rank, High: beside.Behind}
	if before {
		gap = domain.RankGap{Low: beside.Before, High: beside.Rank}
	}
	for _, rank := range p.ranks {
		inside := gap.Low < rank && (rank < gap.High || gap.High == "")
		switch {
		case inside && before:
			gap.Low = rank
		case inside:
			gap.High = rank
		}
	}
	return gap
}

// note remembers where a task was put.
func (p *places) note(task uuid.UUID, events []domain.Event, gap domain.RankGap) {
	for _, e := range events {
		ranked := e.(domain.TaskRanked)
		p.ranks = append(p.ranks, ranked.Rank)
		if anchor, beside := p.at[task]; beside {
			anchor.Rank, anchor.Before, anchor.Behind = ranked.Rank, gap.Low, gap.High
			p.at[task] = anchor
		}
	}
}
