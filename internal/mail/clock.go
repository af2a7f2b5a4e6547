package mail

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// clock tells the database's time: what the database said last, and what has passed since by the monotonic clock of this machine. The times of jobs
// are the database's. By a wrong clock of its own, a process would give up every mail as too late, or have a failed one wait for a year.
type clock struct {
	ask  func(context.Context) (time.Time, error) // asks the database for its time
	last atomic.Pointer[reading]
}

// reading is one moment by two clocks.
type reading struct{ there, here time.Time }

// read asks the database for its time.
func (c *clock) read(ctx context.Context) error {
	there, err := c.ask(ctx)
	if err != nil {
		return fmt.Errorf("ask for the database's time: %w", err)
	}
	c.last.Store(&reading{there, time.Now()})
	return nil
}

// Now implements rivertype.TimeGenerator. Before the first reading it is the time of this machine.
func (c *clock) Now() time.Time {
	if last := c.last.Load(); last != nil {
		return last.there.Add(time.Since(last.here))
	}
	return time.Now()
}

// NowOrNil implements rivertype.TimeGenerator. With nil, River's statements use the database's time wherever they can.
func (c *clock) NowOrNil() *time.Time { return nil }
