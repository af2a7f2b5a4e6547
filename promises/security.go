package promises

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// What is refused makes no thing: it has events, and no operations of its own. Only a member is refused anything, or reads the log.
var _ = bring(noun{
	name:   "security",
	rule:   judgeSecurity,
	stream: func(domain.Event, uuid.UUID) string { return domain.SecurityStream },
})

// judgeSecurity cannot ask for the role of the actor: an event comes behind the answer, and the role may be another by then.
func judgeSecurity(o *oracle, e fact) error {
	switch e.event.(type) {
	case domain.SecurityLoginFailed, domain.SecurityTruncated:
		return when(e.actor != uuid.Nil, "somebody did it")
	}
	return when(o.people[e.actor] == nil, "the actor is no member")
}
