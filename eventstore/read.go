package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
)

// As text, what is stored is handed on as it is; as json, the driver would parse all of it.
const recordColumns = `position, id, stream, version, type, at, actor, meta::text as meta, data::text as data`

// A page of the log is cut at a number of events and at a weight, so that neither many nor heavy ones fill the memory of who
// reads it. At least one event is in it, if there is one.
const (
	PageEvents = 1000
	PageBytes  = 8 << 20
)

// PageEnd is a subquery for the last position of a page of at most $1 events and about $2 bytes, not beyond position $3. The page
// begins behind the position that the SQL between PageEnd and PageEnds gives. It reads sizes, and no data.
const (
	PageEnd = `(select coalesce(min(position) filter (where weight >= $2), max(position)) from (
		select position, sum(size + 300) over (order by position rows unbounded preceding) as weight from event where position > `
	PageEnds = ` and position <= $3 order by position limit $1) as weighed)`
)

// Records up to the horizon are gone, or going: nobody reads them.
const (
	horizon = `(select pruned from head)`
	behind4 = `greatest($4, ` + horizon + `)`
)

// After is the page of records behind a position, the oldest first.
func After(into *[]Record, position int64) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event where position > `+behind4+` and position <= `+PageEnd+behind4+PageEnds+` order by position`,
		PageEvents, PageBytes, int64(math.MaxInt64), position)
}

// Range is the records from first to last, as far as they are there.
func Range(into *[]Record, first, last int64) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event where position between $1 and $2 and position > `+horizon+` order by position`, first, last)
}

// Streams is the records of streams, and those of others at some positions, up to a position and a moment, nil for any, the oldest
// first.
func Streams(into *[]Record, streams []string, others []int64, upTo int64, until *time.Time) pg.Statement {
	return pg.Rows(into, `select * from (
			select `+recordColumns+` from event where stream = any($1::text[])
			union all select `+recordColumns+` from event where position = any($4) and stream <> all($1::text[])) as story
		where position > `+horizon+` and position <= $2 and ($3::timestamptz is null or at <= $3) order by position`, streams, upTo, until, others)
}

// Place is the position of a record of a stream.
type Place struct {
	Stream   string
	Position int64
}

// Places is where the first records of some streams are, between two positions: at most limit of them, the oldest first. The index of the
// streams answers this alone. In the order of positions Postgres might read the whole log, for a stream that begins late.
func Places(into *[]Place, streams []string, from, upTo int64, limit int) pg.Statement {
	return pg.Rows(into, `with story as materialized (select stream, position from event where stream = any($1::text[]))
		select stream, position from story where position > `+horizon+` and position between $2 and $3 order by position limit $4`, streams, from, upTo, limit)
}

// Stop is a record's place in the log.
type Stop struct {
	Position int64
	At       time.Time
}

// UpTo is the query for the last record up to a position. There is no row when that record was pruned.
func UpTo(into *[]Stop, position int64) pg.Statement {
	return pg.Rows(into, `select position, at from event where position > `+horizon+` and position <= $1 order by position desc limit 1`, position)
}

// Until is the query for the last record up to a moment. In a log, times never go back.
func Until(into *[]Stop, at time.Time) pg.Statement {
	return pg.Rows(into, `select position, at from event where position > `+horizon+` and at <= $1 order by at desc, position desc limit 1`, at)
}

// Version is the query for the version of a stream; 0 for one that is not there.
func Version(into *int, stream string) pg.Statement {
	return pg.Exec(`select `+VersionOf+` from (select $1::text as stream) as s`, stream).Scan(into)
}

// Head is where a log begins and ends.
type Head struct {
	Position int64      // the last
	Pruned   int64      // the last of those that are gone by policy
	PrunedAt *time.Time // and its time; nil when none are
	Epoch    int        // one more after each restore
}

// LookHead is the query for the head.
func LookHead(into *Head) pg.Statement {
	return pg.Exec(`select position, pruned, pruned_at, epoch from head`).Scan(&into.Position, &into.Pruned, &into.PrunedAt, &into.Epoch)
}

// ErrOtherEpoch says that the log went back while it was read, so what was read may not be in it any more.
var ErrOtherEpoch = errors.New("another epoch of the log has begun")

// PrunedError says that records that were asked for are gone by policy.
type PrunedError struct {
	UpTo int64
	At   time.Time // of the last of them
}

func (e *PrunedError) Error() string {
	return fmt.Sprintf("the records up to position %d, of %s, were pruned", e.UpTo, e.At.UTC().Format(time.RFC3339))
}

// Wants is a PrunedError when the record at a position was deleted by policy.
func (h Head) Wants(position int64) error {
	if position > h.Pruned {
		return nil
	}
	e := &PrunedError{UpTo: h.Pruned}
	if h.PrunedAt != nil {
		e.At = *h.PrunedAt
	}
	return e
}

// Each calls fn for every record of a workspace from a position on, the oldest first, in constant memory; 0 begins with the first record
// that is left. Each reads what is committed when it gets there, and ends at the head. The error is a GapError when the log lacks an event,
// and a PrunedError when a record that was still to be read has been pruned.
func (s *Store) Each(ctx context.Context, w pg.Workspace, from int64, fn func(Record) error) (next int64, err error) {
	return s.EachOf(ctx, w, 0, from, fn)
}

// EachOf is Each for one epoch, 0 for any. When the log is in another epoch, the error is ErrOtherEpoch, before fn is called.
//
// While fn is called for the records of a page, the next page is read; nobody reads any more when EachOf is done.
func (s *Store) EachOf(ctx context.Context, w pg.Workspace, epoch int, from int64, fn func(Record) error) (next int64, err error) {
	page := s.reading(ctx, w, from-1)
	defer func() { page() }()
	for next = from; ; {
		read := page()
		if read.err != nil {
			return next, read.err
		}
		if epoch != 0 && read.head.Epoch != epoch {
			return next, ErrOtherEpoch
		}
		if next == 0 {
			next = read.head.Pruned + 1
		}
		if err := read.head.Wants(next); err != nil {
			return next, err
		}
		if n := len(read.records); n > 0 && read.records[n-1].Position < read.head.Position {
			page = s.reading(ctx, w, read.records[n-1].Position)
		}
		for _, r := range read.records {
			if r.Position != next {
				return next, &GapError{Want: next, Got: r.Position}
			}
			if err := fn(r); err != nil {
				return next, err
			}
			next++
		}
		switch {
		case next > read.head.Position:
			return next, nil
		case len(read.records) == 0:
			return next, &GapError{Want: next}
		}
	}
}

// page is some records, and the head when they were read.
type page struct {
	records []Record
	head    Head
	err     error
}

// reading begins to read the page behind a position. What it gives waits for that page.
func (s *Store) reading(ctx context.Context, w pg.Workspace, position int64) func() page {
	var read page
	done := make(chan struct{})
	go func() {
		defer close(done)
		read.err = panics.Caught(func() error { return s.db.Read(ctx, w, LookHead(&read.head), After(&read.records, position)) })()
	}()
	return func() page { <-done; return read }
}

// NextTo is the query for the next record behind a position. There is no row when there is no such record.
func NextTo(into *[]Stop, position int64) pg.Statement {
	return pg.Rows(into, `select position, at from event where position > greatest($1, `+horizon+`) order by position limit 1`, position)
}

// GoesOn is a GapError when the log has further records behind a position, and next, of NextTo, is not the very next one.
func (h Head) GoesOn(position int64, next []Stop) error {
	position = max(position, h.Pruned)
	switch {
	case position >= h.Position:
		return nil
	case len(next) == 0:
		return &GapError{Want: position + 1}
	case next[0].Position != position+1:
		return &GapError{Want: position + 1, Got: next[0].Position}
	}
	return nil
}

// Found says where the effects of a key are.
type Found struct {
	First, Last int64
	Same        bool // it was used for the same request
	Answer      string
}

// FindKey looks up whether a key is known: no row, or one.
func FindKey(into *[]Found, k Key) pg.Statement {
	return pg.Rows(into, `select first, last, fingerprint = $2 as same, coalesce(answer::text, '') as answer from dedupe
		where key = $1 and at >= now() - make_interval(secs => $3)`, k.Key[:], k.Fingerprint[:], KeyLife.Seconds())
}

// stretch is how many positions Next looks through in one query.
const stretch = 10_000

// Next is the records of some types, nil for all, behind a position, the oldest first. It gives at most so many records, and about so many
// bytes, but at least one record when the stretch of the log that it looks through has one. The caller goes on behind Beyond.
func Next(into *[]Record, position int64, types []string, events, bytes int) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event where position = any(array(select position from (
			select position, sum(size + 300) over (order by position rows unbounded preceding) - size - 300 as before from (select position, size from event
				where position > $1 and position > `+horizon+` and position <= $1 + $5 and ($2::text[] is null or type = any($2)) order by position limit $3) as chosen) as weighed
		where before < $4)) order by position`, position, types, events, bytes, stretch)
}

// Beyond is the position from which to go on after Next.
func Beyond(position int64, records []Record, head int64) int64 {
	if n := len(records); n > 0 {
		return records[n-1].Position
	}
	return min(position+stretch, head)
}
