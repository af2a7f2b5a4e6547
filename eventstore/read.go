package eventstore

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// As text, what is stored is handed on as it is; as json, the driver would parse all of it.
const recordColumns = `position, id, stream, version, type, at, actor, meta::text as meta, data::text as data`

// After is the page of records behind a position, the oldest first.
func After(into *[]Record, position int64, limit int) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event where position > $1 order by position limit $2`, position, limit)
}

// Range is the records from first to last.
func Range(into *[]Record, first, last int64) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event where position between $1 and $2 order by position`, first, last)
}

// Stream is the records of a stream up to a moment, the oldest first; nil for all of them.
func Stream(into *[]Record, stream string, until *time.Time) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event
		where stream = $1 and ($2::timestamptz is null or at <= $2) order by version`, stream, until)
}

// Filter chooses records; zero values choose all. From and To are instants, both inclusive.
type Filter struct {
	Actor    *uuid.UUID
	Type     string
	Stream   string
	From, To *time.Time
	Before   int64 // only positions below; 0 = from the newest
}

// Newest is the records that a filter chooses, the newest first.
func Newest(into *[]Record, f Filter, limit int) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event
		where ($1::uuid is null or actor = $1)
		  and ($2 = '' or type = $2)
		  and ($3 = '' or stream = $3)
		  and ($4::timestamptz is null or at >= $4)
		  and ($5::timestamptz is null or at <= $5)
		  and ($6::bigint = 0 or position < $6)
		order by position desc limit $7`, f.Actor, f.Type, f.Stream, f.From, f.To, f.Before, limit)
}

// Each gives every record of a workspace from a position on to fn, the oldest first, in constant memory.
// It reads what is committed when it gets there, and ends at the head.
func (s *Store) Each(ctx context.Context, w pg.Workspace, from int64, fn func(Record) error) (next int64, err error) {
	const page = 1000
	next = max(from, 1)
	for {
		var records []Record
		if err := s.db.Read(ctx, w, After(&records, next-1, page)); err != nil {
			return next, err
		}
		for _, r := range records {
			if err := fn(r); err != nil {
				return next, err
			}
			next = r.Position + 1
		}
		if len(records) < page {
			return next, nil
		}
	}
}

// Found is where the effects of a key are.
type Found struct {
	First, Last int64
	Same        bool // it was used for the same request
}

// FindKey looks up whether a key is known: no row, or one.
func FindKey(into *[]Found, k Key) pg.Statement {
	return pg.Rows(into, `select first, last, fingerprint = $2 as same from dedupe
		where key = $1 and at >= now() - make_interval(secs => $3)`, k.Key[:], k.Fingerprint[:], KeyLife.Seconds())
}
