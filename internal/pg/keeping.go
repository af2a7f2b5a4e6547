package pg

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// beat is how often a transaction that holds a lock for long shows a sign of life: without one for a minute, as of a process that
// was stopped, Postgres ends it, and others get the lock.
const beat = 10 * time.Second

// Keeping runs long work beside a transaction that holds the lock on it. When the lock is lost, the context of the work ends. The transaction is
// free again when Keeping returns.
func Keeping(ctx context.Context, tx pgx.Tx, work func(context.Context) error) error {
	working, end := context.WithCancelCause(ctx)
	var alive sync.WaitGroup
	alive.Go(func() {
		beats := time.NewTicker(beat)
		defer beats.Stop()
		for {
			select {
			case <-beats.C:
			case <-working.Done():
				return
			}
			// Not with the context of the work, whose end would break off the statement and the connection with it.
			if _, err := tx.Exec(context.WithoutCancel(ctx), `select`); err != nil {
				end(fmt.Errorf("the lock is lost: %w", err))
			}
		}
	})
	err := work(working)
	lost := context.Cause(working)
	end(nil)
	alive.Wait()
	if err != nil && lost != nil && ctx.Err() == nil {
		return lost
	}
	return err
}
