package eventstore

import (
	"context"
	"time"

	"github.com/kluis-eu/kluis/internal/pg"
)

// SetGrace shortens the time that handlers get after the end.
func (s *Signals) SetGrace(d time.Duration) { s.grace = d }

// AppendWithin appends as a writer with other patience does: until ctx ends.
func (s *Store) AppendWithin(ctx context.Context, w pg.Workspace, a Append) error {
	r := &request{append: a, ids: a.newIDs(), done: make(chan struct{})}
	(&writer{store: s, workspace: w}).writeWithin(ctx, []*request{r})
	<-r.done
	return r.err
}
