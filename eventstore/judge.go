package eventstore

import (
	"github.com/google/uuid"
)

// state is what a writer remembers of the log of a workspace. It is right as long as the head row has the same position and last event.
type state struct {
	position int64
	last     uuid.UUID // the event at position
	epoch    int
	pruned   int64
	versions map[string]int // of the streams looked at so far
}

// maxVersions bounds what a writer remembers.
const maxVersions = 50_000

// knows tells whether a batch can be judged without a look. No key may have to be looked up, and the state must know every stream that the
// batch relies on. A stream that is to begin with this very batch counts as known: in a log that is whole, the unique index on (stream,
// version) proves it.
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

// accept judges one append, after all those that were accepted before it. When every stream is at its version, accept gives the records and
// moves the state; the records have no time yet, and may be none, but are not nil. Else the error is a MovedError, and the state stays.
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
