package eventstore

import (
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Filter chooses records; zero values choose all. From and To are instants, both inclusive.
type Filter struct {
	Actor    *uuid.UUID
	Types    []string // any of them
	Stream   string
	About    *About
	From, To *time.Time
	Text     string // is in the data, without regard to case
	Before   int64  // only positions below this one; 0 = from the newest
	After    int64  // only positions above this one
	UpTo     int64  // no positions above this one; 0 = to the head
}

// Every tells whether the filter chooses every record behind After, up to UpTo.
func (f Filter) Every() bool {
	f.After, f.UpTo = 0, 0
	return reflect.ValueOf(f).IsZero()
}

// About chooses the records of one thing.
type About struct {
	ID      uuid.UUID
	Fields  []string // fields of the data, one of which holds the id in streams that several things share
	Own     []string // the streams of the thing alone
	Streams []string // all streams with records of the thing
}

// Chosen are the records that a filter chooses, by their positions.
type Chosen struct {
	Positions []int64
	LookedTo  int64 // the position that was reached, beyond which there may be more records; 0 when all were looked at
}

// looked bounds the records that one query looks at when no index answers the filter alone: most filters with two conditions, and every
// filter with a text. A caller goes on from LookedTo. So one query takes as long on a long log as on a short one.
const looked = 1000

// Newest is the query for the newest records that a filter chooses, the newest first, at most limit.
func Newest(into *Chosen, f Filter, limit int) pg.Statement {
	found, rest := f.plan(limit, newest)
	return pg.Exec(found, rest...).Scan(&into.LookedTo, &into.Positions) //sqlcheck:allow one of those below
}

// Oldest is the query for the oldest records that a filter chooses, the oldest first, at most limit.
func Oldest(into *Chosen, f Filter, limit int) pg.Statement {
	found, rest := f.plan(limit, oldest)
	return pg.Exec(found, rest...).Scan(&into.LookedTo, &into.Positions) //sqlcheck:allow one of those below
}

// At is the query for the records at some positions, the newest first. Records that were pruned meanwhile are missing.
func At(into *[]Record, positions []int64) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event where position = any($1) order by position desc`, positions)
}

// LightestAt is the query for the records at some positions, the oldest first, up to the weight of a page.
func LightestAt(into *[]Record, positions []int64) pg.Statement {
	return pg.Rows(into, `select `+recordColumns+` from event where position = any(array(select position from (
			select position, sum(size + 300) over (order by position) - size as before from event where position = any($1)) as weighed
		where before < $2)) order by position`, positions, PageBytes)
}

// texts are the queries for one direction, each over one index. The index has the records in order, also for several types or streams at
// once. So no query sorts, or reads records that the condition excludes.
type texts struct{ log, actor, types, streams string }

// plan gives the query for a filter, and its arguments.
func (f Filter) plan(limit int, in texts) (sql string, args []any) {
	about := About{}
	streams := []string{f.Stream}
	if f.About != nil {
		about, streams = *f.About, f.About.Streams
	}
	look := limit
	count := 0
	for _, given := range []bool{f.Actor != nil, f.Types != nil, f.Stream != "", f.About != nil} {
		if given {
			count++
		}
	}
	if count > 1 || f.About != nil || f.Text != "" {
		look = max(limit, looked)
	}
	sql = in.log
	switch {
	case f.Stream != "" || f.About != nil:
		sql = in.streams
	case f.Actor != nil:
		sql = in.actor
	case f.Types != nil:
		sql = in.types
	}
	return sql, []any{f.Actor, f.Types, f.Stream, f.From, f.To, f.Before, f.Text, f.About != nil, about.Own, about.Fields, about.ID.String(), f.After, f.UpTo, streams, look, limit}
}

// The range of positions that a filter allows. Times never decrease with positions, so a range of times is a range of positions.
const bounds = `with bounds as materialized (select
		greatest($12, ` + horizon + `, case when $4::timestamptz is null then 0
			else coalesce((select position - 1 from event where at >= $4 order by at, position limit 1), 9223372036854775807) end) as low,
		least(case when $6::bigint = 0 then 9223372036854775807 else $6 end, case when $13::bigint = 0 then 9223372036854775807 else $13 + 1 end,
			case when $5::timestamptz is null then 9223372036854775807
			else coalesce((select position + 1 from event where at <= $5 order by at desc, position desc limit 1), 0) end) as high),
	looked as materialized (select position from (`

const (
	within   = ` position > (select low from bounds) and position < (select high from bounds) order by `
	backward = ` desc limit $15`
	forward  = ` limit $15`

	fromLog     = `select position from event where` + within + `position`
	fromActor   = `select position from event where actor = $1 and` + within + `position`
	fromTypes   = `select of.position from unnest($2::text[]) as t cross join lateral (select position from event where type = t and` + within + `position`
	fromStreams = `select of.position from unnest($14::text[]) as s cross join lateral (select position from event where stream = s and` + within + `version`
	ofEach      = `) as of`
)

// chosenFrom applies the whole filter to the records that were looked at.
const (
	newestFirst = `) as found order by position desc limit $15)
	select coalesce((select min(position) from looked having count(*) = $15), 0), array(select event.position` + chosen + ` order by event.position desc limit $16)`
	oldestFirst = `) as found order by position limit $15)
	select coalesce((select max(position) from looked having count(*) = $15), 0), array(select event.position` + chosen + ` order by event.position limit $16)`
	chosen = ` from looked cross join lateral (select * from event where event.position = looked.position offset 0) as event
		where $14::text[] is not null and ($1::uuid is null or actor = $1)
		  and ($2::text[] is null or type = any($2))
		  and ($3 = '' or stream = $3)
		  and ($7 = '' or strpos(lower(data::text), lower($7)) > 0)
		  and (not $8 or stream = any($9) or strpos(data::text, $11) > 0 and
			(exists (select from unnest($10::text[]) f where data ->> f = $11) or coalesce((data -> 'thing_ids')::jsonb ? $11, false)))`
)

var (
	newest = texts{
		log:     bounds + fromLog + backward + newestFirst,
		actor:   bounds + fromActor + backward + newestFirst,
		types:   bounds + fromTypes + backward + ofEach + newestFirst,
		streams: bounds + fromStreams + backward + ofEach + newestFirst,
	}
	oldest = texts{
		log:     bounds + fromLog + forward + oldestFirst,
		actor:   bounds + fromActor + forward + oldestFirst,
		types:   bounds + fromTypes + forward + ofEach + oldestFirst,
		streams: bounds + fromStreams + forward + ofEach + oldestFirst,
	}
)
