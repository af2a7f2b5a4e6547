package commands

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// places are where tasks can be put: beside those that were looked up.
type places struct {
	at map[uuid.UUID]projections.Anchor
}

func newPlaces(found []projections.Anchor) places {
	return places{at: byID(found, func(a projections.Anchor) (uuid.UUID, projections.Anchor) { return a.ID, a })}
}

// put gives a task its place. It guards the task beside, so that both are where the caller saw the one. Two tasks that are put in one
// place at once may come in any order: their ranks differ, since every rank ends in digits that are the task's own.
func (p *places) put(d *draft, w wish, by projections.Actor, head int64) ([]domain.Event, error) {
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
	gap := domain.RankGap{Low: beside.Rank, High: beside.Behind}
	if before != nil {
		gap = domain.RankGap{Low: beside.Before, High: beside.Rank}
	}
	return w.task.Put(gap, head)
}
