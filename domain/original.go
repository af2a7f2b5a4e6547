package domain

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Original is the time and the author of an act in the system from which it was imported. The Original is stored in the data of the event,
// beside the payload. The log's own time and actor are those of the import.
type Original struct {
	At time.Time `json:"at"`
	By uuid.UUID `json:"by"` // a member, or the placeholder of a person who has no account
}

// WithOriginal adds an original to the data of an event, which is a JSON object.
func WithOriginal(data []byte, o *Original) ([]byte, error) {
	if o == nil {
		return data, nil
	}
	original, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	comma := ","
	if bytes.Equal(data, []byte("{}")) {
		comma = ""
	}
	return append(append(append(bytes.Clone(data[:len(data)-1]), comma+`"original":`...), original...), '}'), nil
}

// OriginalOf reads the Original in the data of an event; nil for an event that was not imported.
func OriginalOf(data []byte) *Original {
	if !bytes.Contains(data, []byte(`"original":{"at":`)) { // most events have none
		return nil
	}
	var of struct {
		Original *Original `json:"original"`
	}
	if json.Unmarshal(data, &of) != nil { // the payload was decoded before
		return nil
	}
	return of.Original
}

// When is the time of the act: the Original's for an imported event, else the log's.
func (r Record) When() time.Time {
	if r.Original != nil {
		return r.Original.At
	}
	return r.At
}

// Who is the author of the act: the Original's for an imported event, else the log's actor.
func (r Record) Who() uuid.UUID {
	if r.Original != nil {
		return r.Original.By
	}
	return r.Actor
}
