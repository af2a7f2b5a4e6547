package domain_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// Every payload that was ever written stays in testdata/events as <type>.<n>.json and must always decode. A new event type, or a new field,
// is a new file. No file ever changes.
func TestEveryPayloadEverWrittenDecodes(t *testing.T) {
	files, err := filepath.Glob("testdata/events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		parts := strings.Split(filepath.Base(file), ".")
		eventType := strings.Join(parts[:2], ".")
		seen[eventType] = true
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		event, err := domain.Decode(eventType, data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if domain.TypeOf(event) != eventType {
			t.Errorf("%s decodes to %s", file, domain.TypeOf(event))
		}
		again, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, data); err != nil {
			t.Fatal(err)
		}
		if string(again) != want.String() {
			t.Errorf("%s: decoded and encoded again it is\n%s\nnot\n%s", file, again, want.String())
		}
	}
	for _, eventType := range domain.Types() {
		if !seen[eventType] {
			t.Errorf("there is no payload of %s: domain/testdata/events/%s.1.json needs one as it is stored, with every field that an event of it can have", eventType, eventType)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	if _, err := domain.Decode("task.exploded", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("unknown type: %v", err)
	}
	if _, err := domain.Decode("task.created", []byte(`{"title":1}`)); err == nil {
		t.Error("a payload with a field of the wrong type decodes")
	}
}

func TestOptional(t *testing.T) {
	type doc struct {
		Due domain.Optional[domain.Date] `json:"due,omitzero"`
	}
	for text, want := range map[string]doc{
		`{}`:                   {},
		`{"due":null}`:         {Due: domain.Optional[domain.Date]{Set: true}},
		`{"due":"2026-01-02"}`: {Due: domain.To(domain.Date("2026-01-02"))},
	} {
		var got doc
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		if again, _ := json.Marshal(got); string(again) != text {
			t.Errorf("%s becomes %s", text, again)
		}
	}
}

// history folds events as a stream of their own.
func history(stream string, actor uuid.UUID, events ...domain.Event) (records []domain.Record) {
	at := time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)
	for i, e := range events {
		records = append(records, domain.Record{Position: int64(i + 1), Stream: stream, Version: i + 1,
			At: at.Add(time.Duration(i) * time.Hour), Actor: actor, Event: e})
	}
	return records
}

// refused gives the code of a refusal, "" for none.
func refused(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	r, ok := domain.Refusal(err)
	if !ok {
		t.Fatalf("the error is not a refusal: %v", err)
	}
	if len(r.Fields) > 0 {
		return r.Fields[0].Pointer
	}
	return r.Code
}
