package pg

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// beat is how often a transaction that holds a lock for long shows a sign of life. When none comes for a minute, as from a process that
// was stopped, Postgres ends the transaction, and another process gets the lock.
const beat = 10 * time.Second

// KeepAlive does long work while tx holds the lock on it. When tx is lost, and the lock with it, the context of the work ends. The caller may use tx
// again when KeepAlive has returned.
func KeepAlive(ctx context.Context, tx pgx.Tx, work func(context.Context) error) error {
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
			// Without the cancellation of the work: that would break off the statement, and the connection with it.
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
