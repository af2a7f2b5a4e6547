package eventstore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// lookup is the result of the first round trip.
type lookup struct {
	log    *state
	keys   map[[32]byte]keyRow // the known keys among those of the requests
	good   []uuid.UUID         // the ids among those shown by the requests that are good
	stored map[int64]Record    // the records at the positions at which requests were tried before
}

type keyRow struct {
	Key         []byte
	Fingerprint []byte
	First       int64
	Last        int64
	Expired     bool
	Answer      string
}

// clockSlack is how far the head may be ahead of the database's clock. The clocks of a primary and of the standby that took over differ by
// seconds; a larger difference means that one of the two clocks is, or was, wrong.
const clockSlack = 5 * time.Minute

// look locks the head row, and then reads the streams, keys and proofs of the batch. The earlier holder of the lock has committed by then. A
// log that lacks the event seen.last is a WentBackError, unless another epoch has begun since.
func look(ctx context.Context, run Run, seen head, prove *proofs, batch []*request) (lookup, error) {
	log := &state{versions: map[string]int{}}
	var ahead float64
	var streams []string
	var keys [][]byte
	tried := []int64{seen.position}
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
	var good []uuid.UUID
	err := run(ctx, append([]pg.Statement{
		pg.Exec(lockHead).Scan(&log.position, &log.last, &log.epoch, &log.pruned, &ahead),
		pg.Rows(&versions, selectVersions, streams),
		pg.Rows(&keyRows, selectKeys, keys, KeyLife.Seconds()),
		pg.Rows(&stored, selectPositions, tried),
	}, prove.lookFor(&good, batch)...)...)
	if err != nil {
		return lookup{}, err
	}
	if slack := time.Duration(ahead * float64(time.Second)); slack > clockSlack {
		return lookup{}, &ClockError{Ahead: slack}
	}
	for _, v := range versions {
		log.versions[v.Stream] = v.Version
	}
	found := lookup{log: log, keys: map[[32]byte]keyRow{}, good: good, stored: map[int64]Record{}}
	for _, k := range keyRows {
		found.keys[[32]byte(k.Key)] = k
	}
	for _, r := range stored {
		found.stored[r.Position] = r
	}
	if there := found.stored[seen.position]; log.epoch == seen.epoch && seen.position > log.pruned && there.ID != seen.last {
		return lookup{}, &WentBackError{Epoch: seen.epoch, Had: seen.position, Has: log.position}
	}
	return found, nil
}

type streamRow struct {
	Stream  string
	Version int
}

const (
	lockHead       = `select position, last, epoch, pruned, extract(epoch from at - clock_timestamp())::float8 from head for update`
	selectVersions = `select s.stream, ` + VersionOf + ` as version from unnest($1::text[]) as s (stream)`
	selectKeys     = `select key, fingerprint, first, last, coalesce(answer::text, '') as answer, at < now() - make_interval(secs => $2) as expired
		from dedupe where key = any($1::bytea[])`
	selectPositions = `select ` + recordColumns + ` from event where position = any($1::bigint[]) order by position`

	// VersionOf is the version of the stream s.stream. When the events were pruned, the version is that of the baseline. A baseline behind
	// the horizon does not count.
	VersionOf = `coalesce((select max(e.version) from event e where e.stream = s.stream),
		(select max(b.version) from baseline b where b.stream = s.stream and b.position <= ` + horizon + `), 0)`
)

// known answers a request that was stored before, because its first answer was lost or because its key is known.
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
	return Receipt{First: k.First, Last: k.Last, Repeated: true, Answer: k.Answer}, true, nil
}

// proves tells whether the proof of a request holds. Without a proof in the look, the statement that stores checks it.
func (f lookup) proves(r *request, epoch int) bool {
	proof := r.append.Proof
	return proof == nil || proof.Epoch == epoch && (f.log == nil || slices.Contains(f.good, proof.Shown))
}

// remember lets a later request of the same batch find the key of this one.
func (f lookup) remember(r *request, receipt Receipt) {
	if k := r.append.Key; k != nil {
		f.keys[k.Key] = keyRow{Key: k.Key[:], Fingerprint: k.Fingerprint[:], First: receipt.First, Last: receipt.Last, Answer: k.Answer}
	}
}
