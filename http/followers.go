package http

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// maxFollowers is how many answers that follow the log a member may have at once, in this process: whenever
// something is committed, each asks the database, on connections that all requests share.
const maxFollowers = 10

type followers struct {
	mu sync.Mutex
	of map[uuid.UUID]int // by member, who is in one workspace only
}

// add counts one more until ctx ends, which is the request's: it does so with the answer.
func (f *followers) add(ctx context.Context, member uuid.UUID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of[member] >= maxFollowers {
		refusal := domain.Refuse(domain.TooMany, "too_many_requests", "you follow the log %d times already: end one of them first", maxFollowers)
		refusal.RetryAfter = 10 * time.Second
		return refusal
	}
	if f.of == nil {
		f.of = map[uuid.UUID]int{}
	}
	f.of[member]++
	context.AfterFunc(ctx, func() { f.remove(member) })
	return nil
}

func (f *followers) remove(member uuid.UUID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of[member]--; f.of[member] == 0 {
		delete(f.of, member)
	}
}
