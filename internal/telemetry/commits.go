package telemetry

import (
	"sync"

	"github.com/google/uuid"
	api "go.opentelemetry.io/otel/trace"
)

// commits are the last appends of this process that were traced. Work that follows from events finds, by their positions, the span that stored
// them. So no event and no signal carries a trace. Work in another process has no such link; its span has the same workspace and
// positions.
type commits struct {
	mu   sync.Mutex
	last [remembered]commit // a ring
	next int
}

const (
	remembered = 1024 // appends
	mostLinks  = 32   // of a span
)

// commit is an append: the positions of its events, and its span.
type commit struct {
	workspace uuid.UUID
	from, to  int64
	span      api.SpanContext
}

func (c *commits) add(one commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[c.next] = one
	c.next = (c.next + 1) % remembered
}

func (c *commits) between(workspace uuid.UUID, from, to int64) (links []api.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.last {
		if one.workspace == workspace && one.from <= to && one.to >= from && one.span.IsValid() && len(links) < mostLinks {
			links = append(links, api.Link{SpanContext: one.span})
		}
	}
	return links
}
