package http

import (
	"cmp"
	"embed"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/text/language"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// words is what tells of the log in one language: a sentence for each type of event, with {who} did it, {what} it is about, and
// fields of the event by their names. A new type of event brings its sentence: words_test.go names those that are missing.
type words struct {
	Kluis, Erased, Nothing string
	And                    string
	Quotes                 [2]string
	Updated, Change        string // of events whose fields are those that changed
	Rewritten              string // of a field that is too long to be told
	Other                  string // of a type that a newer kluis wrote
	Months                 [12]string
	Nouns, Fields, Types   map[string]string
	Page                   struct{ Title, Events, Article string } // about one member
	Law                    map[string]string                       // what the registry of data says in English: see law
}

// law says in this language what the registry of data (domain.Data) says in English.
func (w *words) law(english string) string { return cmp.Or(w.Law[english], english) }

//go:embed words/*.json
var wordFiles embed.FS

// languages are those in which the log is told, the default first.
var languages = domain.Languages

var allWords = func() (all []words) {
	for _, name := range languages {
		text, err := wordFiles.ReadFile("words/" + name + ".json")
		if err != nil {
			panic(err) // it is part of the program
		}
		var w words
		if err := json.Unmarshal(text, &w); err != nil {
			panic(err)
		}
		all = append(all, w)
	}
	return all
}()

var matcher = func() language.Matcher {
	var tags []language.Tag
	for _, name := range languages {
		tags = append(tags, language.MustParse(name))
	}
	return language.NewMatcher(tags)
}()

// wordsFor finds the language that an Accept-Language header (RFC 9110, 12.5.4) wants most.
func wordsFor(accept string) (name string, w *words) {
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		tags = nil // a header that makes no sense is none
	}
	_, i, _ := matcher.Match(tags...)
	return languages[i], &allWords[i]
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// tell says what an entry of the log tells.
func (w *words) tell(a commands.Audit, e commands.Entry) string {
	t := teller{words: w, audit: a, entry: e}
	_ = json.Unmarshal(e.Data, &t.data) // nothing is in one that is no object
	sentence, known := w.Types[e.Type]
	switch {
	case !known && projections.Updates(e.Type):
		sentence = w.Updated
	case !known:
		sentence = w.Other
	}
	return placeholder.ReplaceAllStringFunc(sentence, func(name string) string { return t.part(name[1 : len(name)-1]) })
}

// teller tells of one entry.
type teller struct {
	*words
	audit commands.Audit
	entry commands.Entry
	data  map[string]json.RawMessage
}

func (t *teller) part(name string) string {
	switch name {
	case "who":
		return t.who()
	case "what":
		return t.thing(t.entry.About)
	case "type":
		return t.entry.Type
	case "changes":
		return t.changes()
	case "things":
		return t.things()
	}
	return t.value(name, t.data[name])
}

func (t *teller) who() string {
	switch who := t.entry.Who; {
	case who == nil:
		return t.Kluis
	case who.Name != "":
		return who.Name
	case who.Status == commands.Erased:
		return t.Erased
	}
	return t.Nouns["member"]
}

// thing calls a thing by its key, else by its title, else by what it is.
func (t *teller) thing(thing projections.Thing) string {
	switch {
	case thing.Key != "":
		return thing.Key
	case thing.Title != "" && thing.Noun == "member":
		return thing.Title
	case thing.Title != "":
		return t.quote(thing.Title)
	case thing.Noun == "member" && t.audit.People[thing.ID].Status == commands.Erased:
		return t.Erased
	case t.Nouns[thing.Noun] != "":
		return t.Nouns[thing.Noun]
	}
	return strings.ReplaceAll(thing.Noun, "_", " ")
}

// things are those that a request was about which was refused.
func (t *teller) things() string {
	var all []string
	for _, asked := range projections.AskedFor(t.data) {
		if known, there := t.audit.Things[asked.ID]; there {
			asked = known
		}
		all = append(all, t.thing(asked))
	}
	if all == nil {
		return t.Nothing
	}
	return strings.Join(all, ", ")
}

func (t *teller) quote(text string) string { return t.Quotes[0] + text + t.Quotes[1] }

// tooLong are fields whose texts are not told: that they changed is.
var tooLong = []string{"description", "body"}

func (t *teller) changes() string {
	var changes []string
	for field := range t.data {
		sentence := t.Change
		if slices.Contains(tooLong, field) {
			sentence = t.Rewritten
		}
		changes = append(changes, placeholder.ReplaceAllStringFunc(sentence, func(name string) string {
			switch name {
			case "{old}":
				return t.value(field, json.RawMessage(t.entry.Before[field]))
			case "{new}":
				return t.value(field, t.data[field])
			}
			if label := t.Fields[field]; label != "" {
				return label
			}
			return strings.ReplaceAll(field, "_", " ")
		}))
	}
	slices.Sort(changes)
	if n := len(changes); n > 1 {
		return strings.Join(changes[:n-1], ", ") + t.And + changes[n-1]
	}
	return strings.Join(changes, "")
}

// value tells a value of a field.
func (t *teller) value(field string, value json.RawMessage) string {
	var text string
	var many []json.RawMessage
	switch {
	case len(value) == 0 || string(value) == "null" || string(value) == `""`:
		return t.Nothing
	case json.Unmarshal(value, &many) == nil:
		var all []string
		for _, one := range many {
			all = append(all, t.value(field, one))
		}
		if len(all) == 0 {
			return t.Nothing
		}
		return strings.Join(all, ", ")
	case json.Unmarshal(value, &text) != nil:
		return string(value) // a number, or true or false
	}
	if noun := projections.Refers(field); noun != "" {
		return t.refer(noun, text)
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return t.day(at)
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.day(at.UTC()) + " " + at.UTC().Format("15:04") + " UTC"
	}
	return t.quote(text)
}

func (t *teller) day(at time.Time) string {
	return strconv.Itoa(at.Day()) + " " + t.Months[at.Month()-1] + " " + strconv.Itoa(at.Year())
}

// refer calls the thing that a field names by its id.
func (t *teller) refer(noun, text string) string {
	id, err := uuid.Parse(text)
	if err != nil {
		return t.quote(text)
	}
	if thing, there := t.audit.Things[id]; there {
		return t.thing(thing)
	}
	return t.thing(projections.Thing{Noun: noun, ID: id})
}
