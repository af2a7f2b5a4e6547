package domain

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Event is a fact in the words of the domain: a struct that was registered. The fields are stored as JSON. A name or a field that was
// written once is read for ever.
type Event any

// Record is an event with its place in the log of a workspace.
type Record struct {
	Position int64 // in the workspace, from 1, without gaps
	Stream   string
	Version  int // in the stream, from 1
	At       time.Time
	Actor    uuid.UUID // the member who did it; uuid.Nil for Kluis itself
	Event    Event
	Original *Original // nil for an event of this workspace; else the time and author before the import: see When and Who
}

// Personal is a personal datum (a name, an e-mail address) as events and states hold it: sealed under
// the key of the member whom the datum is about. This package never opens it.
type Personal string

var (
	decoders  = map[string]func(data []byte) (Event, error){}
	typeNames = map[reflect.Type]string{}
)

// register names an event type, "<noun>.<past participle>", and makes the type known to Decode. Both happen in one call, so every event
// that can be written can be read. Each noun's file registers its own events.
func register[E Event](name string) {
	if _, taken := decoders[name]; taken {
		panic("domain: there are two events " + name)
	}
	typeNames[reflect.TypeFor[E]()] = name
	decoders[name] = func(data []byte) (Event, error) {
		var event E
		err := json.Unmarshal(data, &event)
		return event, err
	}
}

// TypeOf gives the stored name of an event's type. The name is empty for a type that was not registered; the log refuses such an event.
func TypeOf(e Event) string { return typeNames[reflect.TypeOf(e)] }

// ErrNewer refuses to go on with an event that a newer version of the program has written. A process of that version can go on.
var ErrNewer = Refuse(Unavailable, "newer_version", "a newer version of the program has written this: ask again, or update this process")

// Decode reads a stored event. An event type that is not known is an ErrNewer.
func Decode(eventType string, data []byte) (Event, error) {
	decode, known := decoders[eventType]
	if !known {
		return nil, fmt.Errorf("event type %q is not known: %w", eventType, ErrNewer)
	}
	event, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", eventType, err)
	}
	return event, nil
}

// Types is the names of all event types, sorted.
func Types() []string { return slices.Sorted(maps.Keys(decoders)) }

// Nouns are the nouns of all event types, such as "task" of task.created, sorted.
func Nouns() (nouns []string) {
	for _, t := range Types() {
		noun, _, _ := strings.Cut(t, ".")
		nouns = append(nouns, noun)
	}
	return slices.Compact(nouns)
}

// TypesOf gives the event types with the names, restricted to a noun unless noun is empty. Without names and noun the result is nil and
// means all types. A name may be <noun>.*, for every type of the noun.
func TypesOf(names []string, noun string) ([]string, error) {
	if len(names) == 0 && noun == "" {
		return nil, nil
	}
	if len(names) == 0 {
		names = []string{noun + ".*"}
	}
	types := []string{}
	for _, name := range names {
		prefix, whole := strings.CutSuffix(name, "*")
		known := false
		for _, t := range Types() {
			if t != name && !(whole && strings.HasSuffix(prefix, ".") && strings.HasPrefix(t, prefix)) {
				continue
			}
			known = true
			if noun == "" || strings.HasPrefix(t, noun+".") {
				types = append(types, t)
			}
		}
		if !known && name == noun+".*" {
			return nil, InvalidField("/noun", "no type of event begins with this noun")
		}
		if !known {
			return nil, InvalidField("/type", "there is no such type of event")
		}
	}
	return types, nil
}

// StreamID gives the id in the name of a stream of one thing, such as "task-0190..." for kind "task".
func StreamID(kind, stream string) (uuid.UUID, bool) {
	text, ok := strings.CutPrefix(stream, kind+"-")
	if !ok {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	return id, err == nil
}

// Optional is a field of a change: left as it is, set, or set to null.
type Optional[T any] struct {
	Set   bool
	Value *T // nil when set to nothing
}

// To is an Optional that sets v.
func To[T any](v T) Optional[T] { return Optional[T]{Set: true, Value: &v} }

// IsZero makes `omitzero` leave out a field that does not change.
func (o Optional[T]) IsZero() bool { return !o.Set }

// MarshalJSON writes the value, or null.
func (o Optional[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.Value) }

// UnmarshalJSON reads a value, or null. It is not called for an absent field.
func (o *Optional[T]) UnmarshalJSON(data []byte) error {
	o.Set = true
	return json.Unmarshal(data, &o.Value)
}
