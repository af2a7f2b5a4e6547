package http

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

const (
	// maxFollowers is how many answers that follow the log a member may have at once, in this process: whenever
	// something is committed, each asks the database, on connections that all requests share.
	maxFollowers = 10

	// maxUploads is how many files a member may send at once, in this process, and maxAllUploads how many all may: each holds some megabytes.
	maxUploads    = 20
	maxAllUploads = 60
)

// atOnce counts what goes on for long.
type atOnce struct {
	most  int    // of a member
	inAll int    // 0: no matter how many
	what  string // they do

	mu  sync.Mutex
	of  map[uuid.UUID]int // by member, who is in one workspace only
	all int
}

// add counts one more until ctx ends, which is the request's: it does so with the answer.
func (a *atOnce) add(ctx context.Context, member uuid.UUID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var refusal *domain.Error
	switch {
	case a.of[member] >= a.most:
		refusal = domain.Refuse(domain.TooMany, "too_many_requests", "you %s %d times already: end one of them first", a.what, a.most)
	case a.inAll > 0 && a.all >= a.inAll:
		refusal = domain.Refuse(domain.Unavailable, "busy", "too many %s at the moment", a.what)
	}
	if refusal != nil {
		refusal.RetryAfter = 10 * time.Second
		return refusal
	}
	if a.of == nil {
		a.of = map[uuid.UUID]int{}
	}
	a.of[member]++
	a.all++
	context.AfterFunc(ctx, func() { a.remove(member) })
	return nil
}

func (a *atOnce) remove(member uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if a.of[member]--; a.of[member] == 0 {
		delete(a.of, member)
	}
}
