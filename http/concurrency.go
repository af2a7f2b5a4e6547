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

// concurrencyLimit bounds how many long answers or uploads of one kind run at once, for each member and in all.
type concurrencyLimit struct {
	perMember int    // of a member
	total     int    // 0: no matter how many
	what      string // they do

	mu        sync.Mutex
	runningOf map[uuid.UUID]int // by member, who is in one workspace only
	running   int
}

// acquire counts one more for the member, or refuses. The count goes down when ctx ends, which is the context of the request.
func (a *concurrencyLimit) acquire(ctx context.Context, member uuid.UUID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var refusal *domain.Error
	switch {
	case a.runningOf[member] >= a.perMember:
		refusal = domain.Refuse(domain.TooMany, "too_many_requests", "you %s %d times already: end one of them first", a.what, a.perMember)
	case a.total > 0 && a.running >= a.total:
		refusal = domain.Refuse(domain.Unavailable, "busy", "too many %s at the moment", a.what)
	}
	if refusal != nil {
		refusal.RetryAfter = 10 * time.Second
		return refusal
	}
	if a.runningOf == nil {
		a.runningOf = map[uuid.UUID]int{}
	}
	a.runningOf[member]++
	a.running++
	context.AfterFunc(ctx, func() { a.release(member) })
	return nil
}

func (a *concurrencyLimit) release(member uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	if a.runningOf[member]--; a.runningOf[member] == 0 {
		delete(a.runningOf, member)
	}
}
