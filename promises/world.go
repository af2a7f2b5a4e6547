package promises

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
)

// world makes random events of every type that the domain registers, straight into a log: their fields are found by reflection, and
// each noun says in which stream they are and where not any text will do. The things that they name are there, mostly.
type world struct {
	*rapid.T
	things map[string][]uuid.UUID // by noun
	writes []eventstore.Write
}

// happen makes an event of a type.
func (w *world) happen(eventType string) {
	n, err := nounOf(eventType)
	if err != nil {
		w.Fatal(err)
	}
	of := reflect.TypeOf(must(domain.Decode(eventType, []byte("{}"))))
	begins := w.begins(n, eventType)
	var id uuid.UUID
	if begins {
		id = uuid.Must(uuid.NewV7())
		w.things[n.name] = append(w.things[n.name], id)
	} else {
		id = w.one(n.name)
	}
	data := must(json.Marshal(w.fields(n, id, of)))
	stream := n.stream(must(domain.Decode(eventType, data)), id)
	w.writes = append(w.writes, eventstore.Write{Stream: stream, Expected: eventstore.Any, Events: []eventstore.Event{{Type: eventType, Data: data}}})
}

// begins tells whether a type of event is the one with which a thing begins.
func (w *world) begins(n noun, eventType string) bool {
	_, what, _ := strings.Cut(eventType, ".")
	return slices.Contains([]string{"created", "connected", "invited", "added", "requested"}, what)
}

// one is a thing of a noun. It begins when there is none.
func (w *world) one(name string) uuid.UUID {
	if len(w.things[name]) == 0 {
		for _, eventType := range domain.Types() {
			if n, err := nounOf(eventType); err == nil && n.name == name && w.begins(n, eventType) {
				w.happen(eventType)
				break
			}
		}
	}
	if len(w.things[name]) == 0 { // it has no beginning: there is one of it
		w.things[name] = []uuid.UUID{uuid.New()}
	}
	return rapid.SampledFrom(w.things[name]).Draw(w.T, name)
}

// fields are values for the fields of an event, by their JSON names.
func (w *world) fields(n noun, about uuid.UUID, of reflect.Type) map[string]any {
	all := map[string]any{}
	for i := range of.NumField() {
		field := of.Field(i)
		if field.Anonymous {
			for name, value := range w.fields(n, about, field.Type) {
				all[name] = value
			}
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if options != "" && rapid.Bool().Draw(w.T, "without "+name) {
			continue
		}
		all[name] = w.value(n, about, name, field.Type)
	}
	return all
}

func (w *world) value(n noun, about uuid.UUID, name string, of reflect.Type) any {
	switch of {
	case reflect.TypeFor[uuid.UUID]():
		return w.id(n, about, name)
	case reflect.TypeFor[time.Time]():
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(w.T, name), 0).UTC()
	case reflect.TypeFor[domain.Date]():
		return rapid.SampledFrom([]string{"2026-02-28", "2024-02-29", "1970-01-01", "0001-01-01", "9999-12-31", "2026-10-25"}).Draw(w.T, name)
	}
	switch of.Kind() {
	case reflect.Pointer:
		if rapid.Bool().Draw(w.T, "no "+name) {
			return nil
		}
		return w.value(n, about, name, of.Elem())
	case reflect.Slice:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(w.T, "how many "+name) {
			list = append(list, w.value(n, about, strings.TrimSuffix(name, "s"), of.Elem()))
		}
		return list
	case reflect.Map: // of text by text
		texts := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(w.T, "how many "+name) {
			texts[w.text(name)] = w.value(n, about, name, of.Elem())
		}
		return texts
	case reflect.Struct:
		if inside, optional := of.FieldByName("Value"); optional { // domain.Optional
			return w.value(n, about, name, inside.Type)
		}
		return w.fields(n, about, of)
	case reflect.Int, reflect.Int64:
		return rapid.IntRange(0, 1000).Draw(w.T, name)
	case reflect.Bool:
		return rapid.Bool().Draw(w.T, name)
	case reflect.String:
		if values := n.values[name]; values != nil {
			return rapid.SampledFrom(values).Draw(w.T, name)
		}
		return w.text(name)
	}
	w.Fatalf("world.go makes no %s for the field %s of an event of %s", of, name, n.name)
	return nil
}

// id is the thing that a field names: the one that the event is about, one of the noun that the field is called after, or one
// that is not there.
func (w *world) id(n noun, about uuid.UUID, name string) uuid.UUID {
	name = strings.TrimSuffix(name, "_id")
	switch _, known := nouns[name]; {
	case name == n.name:
		return about
	case name == "into": // of the same noun
		return w.one(n.name)
	case known && rapid.IntRange(0, 9).Draw(w.T, "a "+name+" that is there") > 0:
		return w.one(name)
	}
	return uuid.New()
}

// text is anything that the domain accepts: no NUL, valid UTF-8.
func (w *world) text(name string) string {
	odd := rapid.SampledFrom([]string{"", "null", `\u0000`, `{"a":[1]}`, "'; drop table task; --", "\u2028<&>\\\"", "\x01\x1f\x7f", "👩‍👩‍👧", "\ufffe", "\U0010ffff", "NaN", "{}", "{NULL}", " ", "\r\n\t"})
	return rapid.OneOf(odd, rapid.StringOfN(rapid.Rune().Filter(func(c rune) bool { return c != 0 }), 1, 20, -1)).Draw(w.T, name)
}
