package eventstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
)

// LoadIn loads records from elsewhere into the empty log of a workspace, in a transaction of the owner with the workspace's schema on its
// path. The records keep their positions and times, and epoch is the epoch that they are in. next gives one record after the other, and false
// behind the last. The records of a log that was pruned begin behind gone, and edge is the edge of the tree over the pruned records.
func LoadIn(ctx context.Context, tx pgx.Tx, epoch int, gone Pruned, edge []tlog.Hash, next func() (Record, bool, error)) error {
	from := &loading{next: next, last: Record{Position: gone.UpTo}}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"event"}, []string{"position", "id", "stream", "version", "type", "at", "actor", "meta", "data", "size"}, from)
	if from.err != nil {
		err = from.err
	}
	if err != nil {
		return fmt.Errorf("load the log: %w", err)
	}
	_, err = tx.Exec(ctx, `update head set position = $1, last = $2, at = $3, epoch = $4`, from.last.Position, from.last.ID, from.last.At, epoch)
	if err == nil && gone.UpTo > 0 {
		if _, err = tx.Exec(ctx, `update head set pruned = $1, pruned_at = $2`, gone.UpTo, gone.At); err == nil {
			err = storeEdge(ctx, tx, gone.UpTo, edge)
		}
	}
	if err == nil {
		_, err = tx.Exec(ctx, `update reaction set position = $1`, from.last.Position) // the reactions to these records have happened elsewhere
	}
	return err
}

// loading implements pgx.CopyFromSource.
type loading struct {
	next func() (Record, bool, error)
	last Record
	err  error
}

func (l *loading) Next() bool {
	r, more, err := l.next()
	if err == nil && more && r.Position != l.last.Position+1 {
		err = &GapError{Want: l.last.Position + 1, Got: r.Position}
	}
	if l.err = err; err != nil || !more {
		return false
	}
	l.last = r
	return true
}

func (l *loading) Values() ([]any, error) {
	r := l.last
	var meta any
	if r.Meta != nil {
		meta = r.Meta
	}
	var actor any
	if r.Actor != nil {
		actor = *r.Actor
	}
	return []any{r.Position, r.ID, r.Stream, r.Version, r.Type, r.At, actor, meta, r.Data, len(r.Data)}, nil
}

func (l *loading) Err() error { return l.err }

// ParseLine reads a line that AppendLine wrote; false for any other.
func ParseLine(line []byte) (Record, bool) { return parseLine(line) }
