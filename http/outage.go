package http

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kluis-eu/kluis/internal/pg"
)

// outages is what a caller learns of an outage of the database. All of them may be asked again.
var outages = map[pg.Outage]struct {
	detail string
	after  time.Duration
}{
	pg.Unreachable: {"the database cannot be reached at the moment", 2 * time.Second},
	pg.Busy:        {"the database did not answer in time", time.Second},
	pg.ReadOnlyNow: {"the database takes no changes at the moment; what is stored can be read", 10 * time.Second},
	pg.Full:        {"the database has no room for more at the moment", 30 * time.Second},
	pg.Closed:      {"the workspace is closed", time.Minute},
	pg.ClockWrong:  {"the database's clock is wrong: what is stored can be read", 30 * time.Second},
}

// outage answers what the database could not do at the moment. It is the database's operator who has to act, so the log says it
// as a warning, once a second however many ask.
func (x *exchange) outage(ctx context.Context, o pg.Outage, err error) *problem {
	if more, say := x.throttle.allow(time.Now()); say {
		x.log.LogAttrs(ctx, slog.LevelWarn, "the database failed a request", slog.String("code", string(o)),
			slog.String("request_id", x.id), slog.Int("more", more), slog.String("error", err.Error()))
	}
	p := codedProblem(http.StatusServiceUnavailable, string(o), outages[o].detail)
	p.retryAfter = outages[o].after
	return p
}

// logThrottle lets one line a second into the log, and counts those that it keeps back.
type logThrottle struct {
	mu         sync.Mutex
	last       time.Time
	suppressed int // lines since then
}

// allow tells whether to write a line now, and how many were kept back since the last one.
func (q *logThrottle) allow(now time.Time) (kept int, allow bool) {
	if q == nil { // outside of a request
		return 0, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.last) < time.Second {
		q.suppressed++
		return 0, false
	}
	kept, q.suppressed, q.last = q.suppressed, 0, now
	return kept, true
}
