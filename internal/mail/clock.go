package mail

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// clock is the database's, as it was when a mail was looked at last, and with it what has passed since by the steady clock of this machine. The times
// of jobs are the database's: by a clock of its own that is wrong, a process would give up every mail as too late, or have a failed one wait for a year.
type clock struct {
	ask  func(context.Context) (time.Time, error) // the database for its time
	last atomic.Pointer[look]
}

// look is one moment by two clocks.
type look struct{ there, here time.Time }

func (c *clock) look(ctx context.Context) error {
	there, err := c.ask(ctx)
	if err != nil {
		return fmt.Errorf("ask for the database's time: %w", err)
	}
	c.last.Store(&look{there, time.Now()})
	return nil
}

// Now implements rivertype.TimeGenerator.
func (c *clock) Now() time.Time {
	if last := c.last.Load(); last != nil {
		return last.there.Add(time.Since(last.here))
	}
	return time.Now()
}

// NowOrNil implements rivertype.TimeGenerator: where it can, River has the statement itself ask for the time.
func (c *clock) NowOrNil() *time.Time { return nil }
