package projections

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// Revision is one event of a thing's history: who changed what, when.
type Revision struct {
	Version int
	At      time.Time
	Actor   uuid.UUID
	Type    string
	Changes []FieldChange
}

// FieldChange is a field before and after, in JSON.
type FieldChange struct {
	Field string          `json:"field"`
	Old   json.RawMessage `json:"old"`
	New   json.RawMessage `json:"new"`

	sealed bool // personal data: a history has none
}

// bookkeeping is what every event changes.
var bookkeeping = map[string]bool{"id": true, "version": true, "position": true, "updated_at": true, "created_at": true, "created_by": true,
	"name_key": true}

// history folds records into a state and says what each changed in it.
func (m *Model[T]) history(state T, records []domain.Record) []Revision {
	revisions := make([]Revision, 0, len(records))
	before := fields(state)
	for _, r := range records {
		m.apply(&state, r)
		after := fields(state)
		revision := Revision{Version: Version(state), At: r.When(), Actor: r.Who(), Type: domain.TypeOf(r.Event), Changes: []FieldChange{}}
		for i, f := range after {
			if !bookkeeping[f.Field] && !f.sealed && !bytes.Equal(before[i].New, f.New) {
				revision.Changes = append(revision.Changes, FieldChange{Field: f.Field, Old: before[i].New, New: f.New})
			}
		}
		if last := len(revisions) - 1; last >= 0 && revisions[last].Version == revision.Version { // no version of its own: it came with the last
			revisions[last].Changes = append(revisions[last].Changes, revision.Changes...)
		} else {
			revisions = append(revisions, revision)
		}
		before = after
	}
	return revisions
}

// fields gives the fields of a state by their JSON names, in their order; New is the value.
func fields(state any) []FieldChange {
	v := reflect.ValueOf(state)
	all := make([]FieldChange, v.NumField())
	for i := range all {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		value, _ := json.Marshal(v.Field(i).Interface()) // states are made of what JSON can say
		all[i] = FieldChange{Field: name, New: value, sealed: v.Type().Field(i).Type == reflect.TypeFor[domain.Personal]()}
	}
	return all
}
