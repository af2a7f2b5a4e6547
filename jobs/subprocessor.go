package jobs

import (
	"context"
	"time"
)

// tellEvery is how often a process looks for notices to send. Notices are due thirty days ahead.
const tellEvery = 10 * time.Minute

// tellSubprocessors mails admins about new subprocessors, until ctx ends.
func (j *Jobs) tellSubprocessors(ctx context.Context) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		if err := j.Commands.TellSubprocessors(ctx); err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "admins are not told yet of a new subprocessor", "again_in", tellEvery.String(), "error", err.Error())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
