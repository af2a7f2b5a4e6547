package demo

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestWait is the longest Retry-After that the demo obeys. A member's limit ends within a minute. A longer limit, such as that of sign-ups, is for a
// person to decide about.
const longestWait = 90 * time.Second

// longestTurns limits how long one request waits for limits in total.
const longestTurns = 10 * time.Minute

// later says why a request must be sent again, and after how long; "" when the answer is final.
func later(a answer, err error, attempt int) (why string, wait time.Duration) {
	backoff := jitter(50 * time.Millisecond << min(attempt, 5))
	switch {
	case err != nil:
		return "connection lost", backoff
	case a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests:
		said := a.problem()
		why = strings.TrimSpace(strconv.Itoa(a.status) + " " + said.Code + " " + said.Limit)
		if asked := retryAfter(a.header, time.Now()); asked > 0 {
			return why, jitter(asked)
		}
		return why, backoff
	case a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout: // from a proxy
		return strconv.Itoa(a.status), backoff
	case a.status == http.StatusConflict && a.problem().Code == "idempotency_key_in_use": // an earlier try is still running
		return "409 idempotency_key_in_use", backoff
	}
	return "", 0
}

// jitter makes d up to a quarter longer, so that requests which were refused together do not come back together.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d/4+1) //nolint:gosec // nobody gains by guessing it
}

// retryAfter reads the header Retry-After: seconds or a date (RFC 9110, 10.2.3). It is 0 when there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(0, seconds)) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
