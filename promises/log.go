package promises

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "log",
	rule: func(_ *oracle, e fact) error {
		pruned, ok := e.event.(domain.LogPruned)
		if !ok {
			return errUnknown(e)
		}
		return firstError(when(e.actor != uuid.Nil, "the actor is a member"), when(pruned.UpTo >= e.Position, "it is not before it"))
	},
	stream: func(domain.Event, uuid.UUID) string { return domain.LogStream },
})
