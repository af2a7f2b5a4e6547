package eventstore

import (
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// head is the content that the head row must still have.
type head struct {
	position int64
	last     uuid.UUID
	epoch    int
}

func (s *state) head() head {
	if s == nil {
		return head{}
	}
	return head{s.position, s.last, s.epoch}
}

// store gives the statements that store the accepted requests; nil when none was accepted. The statement that stores events writes their
// common time to at. It has no row when the head differs from before, or when a proof does not hold.
func store(before head, verdicts []verdict, prove *proofs, at *time.Time) []pg.Statement {
	var e columns
	var k keyColumns
	shown := prove.of(verdicts)
	for _, v := range verdicts {
		for _, r := range v.fresh {
			e.add(r)
		}
		if key := v.request.append.Key; key != nil && v.fresh != nil {
			k.add(key, v.receipt)
		}
	}
	var statements []pg.Statement
	if len(k.keys) > 0 {
		statements = append(statements, pg.Exec(deleteKeys, k.keys, KeyLife.Seconds()))
	}
	n := len(e.positions)
	switch {
	case n == 0 && len(k.keys) == 0:
		return nil
	case n == 0: // only requests without events; look holds the head row
		return append(statements, pg.Exec(insertKeys, k.keys, k.fingerprints, k.first, k.last, k.answers, k.kept))
	case n == 1 && len(k.keys) == 0:
		one, args := insertOne, []any{e.positions[0], e.ids[0], e.streams[0], e.versions[0], e.types[0], e.actors[0], e.metas[0], e.data[0],
			before.position, before.last}
		if len(shown) > 0 {
			one, args = prove.one, append(args, shown[0])
		}
		return append(statements, pg.Exec(one, args...).Scan(at)) //sqlcheck:allow a constant, or made of one by Prove
	default:
		many, args := insertMany, []any{e.positions, e.ids, e.streams, e.versions, e.types, e.actors, e.metas, e.data,
			before.position, before.last, e.positions[n-1], e.ids[n-1], k.keys, k.fingerprints, k.first, k.last, k.answers, k.kept}
		if len(shown) > 0 {
			many, args = prove.many, append(args, shown)
		}
		return append(statements, pg.Exec(many, args...).Scan(at)) //sqlcheck:allow a constant, or made of one by Prove
	}
}

// columns are the events of a batch, as one array for each column.
type columns struct {
	positions            []int64
	ids                  []uuid.UUID
	streams, types, data []string
	versions             []int
	actors               []uuid.NullUUID
	metas                []*string
}

func (c *columns) add(r Record) {
	c.positions, c.ids, c.streams = append(c.positions, r.Position), append(c.ids, r.ID), append(c.streams, r.Stream)
	c.versions, c.types = append(c.versions, r.Version), append(c.types, r.Type)
	c.actors, c.metas, c.data = append(c.actors, r.actor()), append(c.metas, r.meta()), append(c.data, string(r.Data))
}

// keyColumns are the keys of a batch.
type keyColumns struct {
	keys, fingerprints [][]byte
	first, last        []int64
	answers            []string
	kept               []bool
}

func (c *keyColumns) add(k *Key, receipt Receipt) {
	c.keys, c.fingerprints = append(c.keys, k.Key[:]), append(c.fingerprints, k.Fingerprint[:])
	c.first, c.last = append(c.first, receipt.First), append(c.last, receipt.Last)
	c.answers, c.kept = append(c.answers, k.Answer), append(c.kept, k.Kept)
}

// deleteKeys deletes the keys of the batch that have expired, and some other expired keys: more than the batch adds.
const deleteKeys = `delete from dedupe where at < now() - make_interval(secs => $2)
	and key = any($1::bytea[] || array(select key from dedupe where at < now() - make_interval(secs => $2) order by at limit 100))`

// One statement locks the head row, compares it with what the writer remembers, moves it, and stores what the log gains:
//
//  1. When the head row differs from the memory, the rest of the statement has no row to join with, and nothing is stored. Another
//     process has appended meanwhile, or the log went back. The writer looks again.
//  2. When the head row is as remembered, it stays locked until the commit, and later appends wait. The row gives the time of the
//     events: the database's time, but never less than that of the last event.
//  3. When the table does not take every event, as with a trigger that somebody has put there, the statement fails, and nothing is stored.
//
// The head row is always the first lock of an append, in look and in these statements. So an append that waits for the head row holds
// nothing that the holder needs. Most batches have one event, for which the statement is much cheaper to plan.
const (
	moveHead = `at = greatest(at, clock_timestamp())
			where position = $9 and last = $10 and at < clock_timestamp() + interval '5 minutes'`
	moving    = ` returning position, at)`
	signal    = `insert into kluis.signal (position) select position from h`
	moveOne   = `with h as (update head set position = $1, last = $2, ` + moveHead
	insertOne = moveOne + storeOne
	storeOne  = moving + `, s as (` + signal + `),
		e as (insert into event (position, id, stream, version, type, at, actor, meta, data, size)
		select $1::bigint, $2::uuid, $3::text, $4::int, $5::text, h.at, $6::uuid, $7::text::json, $8::text::json, octet_length($8) from h returning 1)
		select h.at from h where (select case when count(*) = (select count(*) from h)` + tookAll
	moveMany   = `with h as (update head set position = $11, last = $12, ` + moveHead
	insertMany = moveMany + storeMany
	storeMany  = moving + `, s as (` + signal + `),
		k as (insert into dedupe (key, fingerprint, first, last, answer, at) select k.key, k.fingerprint, k.first, k.last, nullif(k.answer, '')::json, case when k.kept then 'infinity' else now() end
			from h, unnest($13::bytea[], $14::bytea[], $15::bigint[], $16::bigint[], $17::text[], $18::bool[]) as k (key, fingerprint, first, last, answer, kept)),
		e as (insert into event (position, id, stream, version, type, at, actor, meta, data, size)
		select e.position, e.id, e.stream, e.version, e.type, h.at, e.actor, e.meta::json, e.data::json, octet_length(e.data)
		from h, unnest($1::bigint[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::uuid[], $7::text[], $8::text[])
			as e (position, id, stream, version, type, actor, meta, data) returning 1)
		select h.at from h where (select case when count(*) = cardinality($1::bigint[]) * (select count(*) from h)` + tookAll
	tookAll    = ` then 'true' else 'the table event has not taken every event: look for triggers on it' end from e)::boolean` // a text that is no boolean is an error
	insertKeys = `insert into dedupe (key, fingerprint, first, last, answer, at) select k.key, k.fingerprint, k.first, k.last, nullif(k.answer, '')::json, case when k.kept then 'infinity' else now() end
		from unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[], $6::bool[]) as k (key, fingerprint, first, last, answer, kept)`
)
