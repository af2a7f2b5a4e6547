package eventstore_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/eventstore"
)

// The form of a line never changes, because an auditor who keeps the hash of a line must be able to make the line again.
func TestLine(t *testing.T) {
	actor := uuid.MustParse("0197c0de-0000-7000-8000-00000000000b")
	r := eventstore.Record{Position: 7, ID: uuid.MustParse("0197c0de-0000-7000-8000-00000000000c"), Stream: "task-1", Version: 2,
		Type: "task.completed", At: time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC), Data: json.RawMessage(`{"a":1}`)}
	for want, change := range map[string]func(){
		`{"position":7,"id":"0197c0de-0000-7000-8000-00000000000c","stream":"task-1","version":2,"type":"task.completed",` +
			`"at":"2026-01-02T03:04:05.6789Z","actor":null,"meta":null,"data":{"a":1}}`: func() {},
		`{"position":7,"id":"0197c0de-0000-7000-8000-00000000000c","stream":"task-1","version":2,"type":"task.completed",` +
			`"at":"2026-01-02T03:04:05.6789Z","actor":"0197c0de-0000-7000-8000-00000000000b","meta":{"ip":"gAAAA"},"data":{"a":1}}`: func() {
			r.Actor, r.Meta = &actor, json.RawMessage(`{"ip":"gAAAA"}`)
		},
	} {
		r.Actor, r.Meta = nil, nil
		change()
		if got := string(r.AppendLine(nil)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// A text and an id of a line are written as encoding/json writes them, whatever is in the text.
func TestLineEscapes(t *testing.T) {
	for c := range rune(0x3000) {
		for _, text := range []string{"a" + string(c) + "b", "a" + string([]byte{byte(c)})} {
			r := eventstore.Record{ID: uuid.New(), Stream: text, Type: text, Data: json.RawMessage(`{}`)}
			quoted, _ := json.Marshal(text) // a string cannot fail
			want := fmt.Sprintf(`{"position":0,"id":"%s","stream":%[2]s,"version":0,"type":%[2]s,"at":"0001-01-01T00:00:00Z","actor":null,"meta":null,"data":{}}`, r.ID, quoted)
			if got := string(r.AppendLine(nil)); got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		}
	}
}

// The Meta of an append is in each of its records, exactly as written, for one event and for many.
func TestMeta(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	meta := json.RawMessage(`{"user_agent":"b","ip":"a"}`)
	for i, texts := range [][]string{{"one"}, {"two", "three"}, {"four"}} {
		a := write("thing-"+texts[0], 0, texts...)
		if i < 2 {
			a.Meta = meta
		}
		if _, err := f.store.Append(t.Context(), w, a); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range f.log(t, w) {
		if want := []string{string(meta), string(meta), string(meta), ""}[i]; string(r.Meta) != want {
			t.Errorf("position %d: meta %q, want %q", r.Position, r.Meta, want)
		}
	}
}
