package eventstore

import (
	"github.com/google/uuid"
)

// state is a writer's memory of the log of a workspace. The memory is right as long as the head row has the same position and last event.
type state struct {
	position int64
	last     uuid.UUID // the event at position
	epoch    int
	pruned   int64
	versions map[string]int // of the streams looked at so far
}

// maxVersions bounds the number of streams that a writer remembers.
const maxVersions = 50_000

// knows tells whether a batch can be judged without a look. The batch must have no key, and the state must know every stream of the batch.
// A stream that begins with this batch counts as known, because the unique index on (stream, version) proves that it is new.
func (s *state) knows(batch []*request) bool {
	if s == nil || len(s.versions) > maxVersions {
		return false
	}
	for _, r := range batch {
		if r.append.Key != nil || r.tried != 0 {
			return false
		}
		for _, w := range r.append.Writes {
			if _, known := s.versions[w.Stream]; !known && (w.Expected != 0 || s.pruned > 0) {
				return false
			}
		}
		for _, g := range r.append.Guards {
			if _, known := s.versions[g.Stream]; !known {
				return false
			}
		}
	}
	return true
}

// accept judges one append after the earlier accepted ones. When every stream is at the expected version, accept gives the records and moves
// the state. The records have no time yet; they may be empty but not nil. Otherwise the error is a MovedError, and the state stays.
func (s *state) accept(r *request) ([]Record, error) {
	for _, g := range r.append.Guards {
		if actual := s.versions[g.Stream]; actual != g.Version {
			return nil, &MovedError{g.Stream, g.Version, actual}
		}
	}
	for _, w := range r.append.Writes {
		if actual := s.versions[w.Stream]; actual != w.Expected && w.Expected != Any {
			return nil, &MovedError{w.Stream, w.Expected, actual}
		}
	}
	records := []Record{}
	for _, w := range r.append.Writes {
		for _, e := range w.Events {
			s.position++
			s.versions[w.Stream]++
			record := Record{Position: s.position, ID: r.ids[len(records)], Stream: w.Stream,
				Version: s.versions[w.Stream], Type: e.Type, Meta: r.append.Meta, Data: e.Data}
			if actor := r.append.Actor; actor != [16]byte{} {
				record.Actor = &actor
			}
			records = append(records, record)
			s.last = record.ID
		}
	}
	return records, nil
}
