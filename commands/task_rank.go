package commands

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// places are where tasks can be put: beside those that were looked up, as they are and as they become.
type places struct {
	at    map[uuid.UUID]projections.Anchor
	ranks []string // that were given since
}

func newPlaces(found []projections.Anchor) places {
	return places{at: byID(found, func(a projections.Anchor) (uuid.UUID, projections.Anchor) { return a.ID, a })}
}

// put gives a task its place. It guards the task beside, so that both are where the caller saw the one. Two tasks that are put in one
// place at once may come in any order: their ranks differ, since every rank ends in digits that are the task's own.
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

// gap is the place directly before, or behind, a task: what was put into it since is left out.
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
