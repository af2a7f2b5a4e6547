package eventstore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// commit judges a batch and stores what it accepts, in one transaction: one round trip when the writer
// knows the log, else two. On nil every request has its answer; on an error none has.
func (w *writer) commit(ctx context.Context, batch []*request) (last int64, err error) {
	var verdicts []verdict
	err = w.store.db.In(ctx, w.workspace, func(tx *pg.Tx) error {
		var found lookup
		if known := w.log.knows(batch); known {
			verdicts = judge(w.log, found, batch, w.store.now())
		}
		if verdicts == nil || anyRefused(verdicts) { // a refusal must be of what is, not of what this writer remembers
			if found, err = look(ctx, tx.Run, batch); err != nil {
				return err
			}
			w.log = found.log
			verdicts = judge(w.log, found, batch, w.store.now())
		}
		statements := store(w.workspace, w.log, verdicts)
		if statements == nil {
			return nil // nothing accepted: the empty transaction ends
		}
		for _, v := range verdicts {
			if len(v.fresh) > 0 {
				v.request.tried = v.receipt.First // from here on it may be stored, whatever the answer
			}
		}
		return tx.Commit(ctx, statements...)
	})
	if err != nil {
		return 0, err
	}
	for _, v := range verdicts {
		v.request.finish(v.receipt, v.err)
		last = max(last, v.receipt.Last)
	}
	return last, nil
}

// verdict is what a request will be answered once the transaction is committed.
type verdict struct {
	request *request
	receipt Receipt
	fresh   []Record // to be stored now; nil when refused or stored before
	err     error
}

// judge decides on each request in order. A refused one never spoils its neighbours.
func judge(log *state, found lookup, batch []*request, now time.Time) []verdict {
	now = now.UTC().Truncate(time.Microsecond)
	verdicts := make([]verdict, len(batch))
	for i, r := range batch {
		v := verdict{request: r}
		if receipt, known, err := found.known(r); known {
			v.receipt, v.err = receipt, err
		} else if records, err := log.accept(r, now); err != nil {
			v.err = err
		} else {
			v.receipt, v.fresh = Receipt{First: log.position - int64(len(records)) + 1, Last: log.position, Records: records}, records
			found.remember(r, v.receipt)
		}
		verdicts[i] = v
	}
	return verdicts
}

func anyRefused(verdicts []verdict) bool {
	return slices.ContainsFunc(verdicts, func(v verdict) bool { return v.err != nil })
}

// lookup is what the first round trip found.
type lookup struct {
	log    *state
	keys   map[[32]byte]keyRow // of the requests' keys that are known
	stored map[int64]Record    // at the positions at which requests were tried before
}

type keyRow struct {
	Key         []byte
	Fingerprint []byte
	First       int64
	Last        int64
	Expired     bool
}

// look locks the head row, then reads what the batch relies on: whoever held the lock before has committed.
func look(ctx context.Context, run Run, batch []*request) (lookup, error) {
	log := &state{versions: map[string]int{}}
	var streams []string
	var keys [][]byte
	var tried []int64
	for _, r := range batch {
		for _, w := range r.append.Writes {
			streams = append(streams, w.Stream)
		}
		for _, g := range r.append.Guards {
			streams = append(streams, g.Stream)
		}
		if r.append.Key != nil {
			keys = append(keys, r.append.Key.Key[:])
		}
		if r.tried != 0 {
			for i := range r.ids {
				tried = append(tried, r.tried+int64(i))
			}
		}
	}
	var versions []streamRow
	var keyRows []keyRow
	var stored []Record
	err := run(ctx,
		pg.Exec(lockHead).Scan(&log.position, &log.at),
		pg.Rows(&versions, selectVersions, streams),
		pg.Rows(&keyRows, selectKeys, keys, KeyLife.Seconds()),
		pg.Rows(&stored, selectPositions, tried),
	)
	if err != nil {
		return lookup{}, err
	}
	for _, v := range versions {
		log.versions[v.Stream] = v.Version
	}
	found := lookup{log: log, keys: map[[32]byte]keyRow{}, stored: map[int64]Record{}}
	for _, k := range keyRows {
		found.keys[[32]byte(k.Key)] = k
	}
	for _, r := range stored {
		found.stored[r.Position] = r
	}
	return found, nil
}

type streamRow struct {
	Stream  string
	Version int
}

const (
	lockHead       = `select position, at from head for update`
	selectVersions = `select s.stream, coalesce((select max(e.version) from event e where e.stream = s.stream), 0) as version
		from unnest($1::text[]) as s (stream)`
	selectKeys = `select key, fingerprint, first, last, at < now() - make_interval(secs => $2) as expired
		from dedupe where key = any($1::bytea[])`
	selectPositions = `select ` + recordColumns + ` from event where position = any($1::bigint[]) order by position`
)

// known answers a request that is stored already: sent before with its answer lost, or with a known key.
func (f lookup) known(r *request) (_ Receipt, known bool, _ error) {
	if first, ok := f.stored[r.tried]; ok && first.ID == r.ids[0] {
		receipt := Receipt{First: r.tried, Last: r.tried + int64(len(r.ids)) - 1}
		for i := range r.ids {
			receipt.Records = append(receipt.Records, f.stored[r.tried+int64(i)])
		}
		return receipt, true, nil
	}
	if r.append.Key == nil {
		return Receipt{}, false, nil
	}
	k, ok := f.keys[r.append.Key.Key]
	switch {
	case !ok || k.Expired:
		return Receipt{}, false, nil
	case !bytes.Equal(k.Fingerprint, r.append.Key.Fingerprint[:]):
		return Receipt{}, true, &KeyReusedError{}
	}
	return Receipt{First: k.First, Last: k.Last, Repeated: true}, true, nil
}

// remember lets a later request of the same batch find the key.
func (f lookup) remember(r *request, receipt Receipt) {
	if k := r.append.Key; k != nil {
		f.keys[k.Key] = keyRow{Key: k.Key[:], Fingerprint: k.Fingerprint[:], First: receipt.First, Last: receipt.Last}
	}
}

// store gives the statements for what was accepted: nil for nothing.
func store(workspace pg.Workspace, log *state, verdicts []verdict) []pg.Statement {
	var positions []int64
	var ids []uuid.UUID
	var streams, types, data []string
	var versions []int
	var actors []uuid.NullUUID
	var metas []*string
	var ats []time.Time
	var keys []pg.Statement
	for _, v := range verdicts {
		for _, r := range v.fresh {
			positions, ids, streams = append(positions, r.Position), append(ids, r.ID), append(streams, r.Stream)
			versions, types, ats = append(versions, r.Version), append(types, r.Type), append(ats, r.At)
			actors, metas, data = append(actors, r.actor()), append(metas, r.meta()), append(data, string(r.Data))
		}
		if k := v.request.append.Key; k != nil && v.fresh != nil {
			keys = append(keys,
				pg.Exec(deleteKeys, k.Key[:], KeyLife.Seconds()), // it has expired, or is not there
				pg.Exec(`insert into dedupe (key, fingerprint, first, last, at) values ($1, $2, $3, $4, now())`,
					k.Key[:], k.Fingerprint[:], v.receipt.First, v.receipt.Last))
		}
	}
	switch len(positions) {
	case 0:
		return keys // of those who had nothing to do; look holds the head row
	case 1:
		return append(keys, pg.Exec(insertOne, positions[0], ids[0], streams[0], versions[0], types[0], ats[0], actors[0], metas[0], data[0], workspace.ID))
	default:
		return append(keys, pg.Exec(insertMany, positions, ids, streams, versions, types, ats, actors, metas, data, workspace.ID, log.position, log.at))
	}
}

// deleteKeys deletes a key, and some of those that say nothing any more: more than come. It is one array, because no
// index helps with an "or".
const deleteKeys = `delete from dedupe where key = any(array(select key from dedupe
	where at < now() - make_interval(secs => $2) order by at limit 10) || $1::bytea)`

// The head row is always the first thing that an append locks, by look or by these: whoever waits for it
// holds nothing that its holder needs. When another process has taken the positions meanwhile, the insert
// violates the primary key and all of it is undone. The statement for one event is what most workspaces
// need most of the time, and much cheaper to plan.
const (
	insertOne = `with h as (update head set position = $1, at = $6 returning position),
		s as (insert into kluis.signal (workspace_id, position) select $10::uuid, position from h)
		insert into event (position, id, stream, version, type, at, actor, meta, data)
		select position, $2::uuid, $3::text, $4::int, $5::text, $6::timestamptz, $7::uuid, $8::text::json, $9::text::json from h`
	insertMany = `with h as (update head set position = $11, at = $12 returning position),
		s as (insert into kluis.signal (workspace_id, position) select $10::uuid, position from h)
		insert into event (position, id, stream, version, type, at, actor, meta, data)
		select e.position, e.id, e.stream, e.version, e.type, e.at, e.actor, e.meta::json, e.data::json
		from h, unnest($1::bigint[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::timestamptz[], $7::uuid[], $8::text[], $9::text[])
			as e (position, id, stream, version, type, at, actor, meta, data)`
)

// Run runs statements in a transaction that is in the role of a workspace.
type Run func(ctx context.Context, statements ...pg.Statement) error

// AppendIn stores a in a transaction that does something else as well: both happen, or neither. The head row is locked from
// here on, so little should follow. Once it is committed, the caller says so with Appended.
func (s *Store) AppendIn(ctx context.Context, run Run, w pg.Workspace, a Append) (Receipt, error) {
	if err := a.check(); err != nil {
		return Receipt{}, err
	}
	batch := []*request{{append: a, ids: a.newIDs()}}
	found, err := look(ctx, run, batch)
	if err != nil {
		return Receipt{}, err
	}
	verdicts := judge(found.log, found, batch, s.now())
	if err := verdicts[0].err; err != nil {
		return Receipt{}, err
	}
	return verdicts[0].receipt, run(ctx, store(w, found.log, verdicts)...)
}

// Appended rings for what AppendIn stored.
func (s *Store) Appended(w pg.Workspace, r Receipt) { s.bell.Ring(w, r.Last) }
