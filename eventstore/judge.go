package eventstore

import (
	"github.com/google/uuid"
)

// state is the log of a workspace as far as a writer needs it. It is right as long as the head row still
// has its position and its last event.
type state struct {
	position int64
	last     uuid.UUID // the event at position
	epoch    int
	pruned   int64
	versions map[string]int // of the streams looked at so far
}

// maxVersions bounds what a writer remembers.
const maxVersions = 50_000

// knows tells whether a batch can be judged without looking: every stream it relies on is known, or is to
// begin with this very batch, which (stream, version) being unique proves in a log that is whole; and no key has to be
// looked up.
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

// accept judges one append after all those accepted before it. When every stream is at its version it
// gives the records, which may be none but are not nil and have no time yet, and moves the state; else a MovedError, and the state stays.
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
