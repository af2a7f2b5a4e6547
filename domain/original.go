package domain

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Original is when something was done, and by whom, in the system that it was imported from. It is a fact of the event, in its data
// beside the payload; the log's own time and actor are those of the import.
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

// OriginalOf reads the original in the data of an event; nil for the event of somebody who did it here.
func OriginalOf(data []byte) *Original {
	if !bytes.Contains(data, []byte(`"original":{"at":`)) { // as most
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

// When is when it was done: in the system that it was imported from, if it was.
func (r Record) When() time.Time {
	if r.Original != nil {
		return r.Original.At
	}
	return r.At
}

// Who is the member who did it, there or here.
func (r Record) Who() uuid.UUID {
	if r.Original != nil {
		return r.Original.By
	}
	return r.Actor
}
