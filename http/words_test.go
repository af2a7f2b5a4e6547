package http

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// Every event is told in every language, with the same parts; what is told by its fields alone is "updated".
func TestEveryEventIsTold(t *testing.T) {
	t.Parallel()
	for i, w := range allWords {
		for _, eventType := range domain.Types() {
			sentence, told := w.Types[eventType]
			if !told && !projections.Updates(eventType) {
				t.Errorf("http/words/%s.json does not tell of %s: \"types\" in it needs a sentence, such as that of \"tag.created\"", languages[i], eventType)
			}
			if got, want := placeholders(sentence), placeholders(allWords[0].Types[eventType]); !slices.Equal(got, want) {
				t.Errorf("http/words/%s.json tells of %s with %v, English with %v", languages[i], eventType, got, want)
			}
		}
		for _, noun := range domain.Nouns() {
			if w.Nouns[noun] == "" {
				t.Errorf("\"nouns\" in http/words/%s.json do not say what a %s is called in the language, with its article", languages[i], noun)
			}
		}
		for field := range allWords[0].Fields {
			if w.Fields[field] == "" {
				t.Errorf("http/words/%s.json does not name the field %s", languages[i], field)
			}
		}
		for field, values := range allWords[0].Values {
			for value := range values {
				if w.Values[field][value] == "" {
					t.Errorf("http/words/%s.json does not say %q of a %s", languages[i], value, field)
				}
			}
		}
		for _, text := range append(w.Months[:], w.Kluis, w.Erased, w.Nothing, w.And, w.At, w.First, w.Days, w.Quotes[0], w.Quotes[1], w.Updated, w.Change, w.Rewritten, w.Other, w.Page.Title, w.Page.Events, w.Page.Article, w.Page.When, w.Page.What, w.Page.From) {
			if text == "" {
				t.Errorf("http/words/%s.json lacks a word", languages[i])
			}
		}
	}
}

// Whatever table has rows about a member has a heading in every language, and so has each column of it that may leave.
func TestEveryColumnAboutAMemberHasAHeading(t *testing.T) {
	t.Parallel()
	for i, w := range allWords {
		for _, place := range domain.Places(domain.InWorkspace) {
			if len(place.About) == 0 || place.Name == "event" {
				continue
			}
			if w.Tables[place.Name] == "" {
				t.Errorf("\"tables\" in http/words/%s.json have no heading for %s", languages[i], place.Name)
			}
			for _, column := range columnsOf(place.Name) {
				if heading := w.Columns[column]; heading == "" || strings.Contains(heading, "_") {
					t.Errorf("\"columns\" in http/words/%s.json head %s of %s with %q", languages[i], column, place.Name, heading)
				}
			}
		}
	}
}

// unreadable is what no sentence has outside of quotes: ids, words and marks of a program, what is not known, a small first letter, a hole; and,
// by language, words that do not go together.
var unreadable = map[string]*regexp.Regexp{
	"":   regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}|[{}\[\]]|  |\b(null|true|false|[a-z]+_[a-z_]+)\b|\( *\)| [,.;)]|^\p{Ll}|\d{4}-\d\d-\d\d`),
	"en": regexp.MustCompile(`\ba [aeiou]`),
	"fr": regexp.MustCompile(`(^|[ ’])([dD]e|[qQ]ue) [aeiouâàéèêîôAEIOUÉ]|[dD]e les?\b|[lL][ea] une? |[ ’]([dD]e|[àÀ]) \d+(er)? \pL{3,} \d{4}|[^\x{a0}][:;!?]( |$)`),
	"nl": regexp.MustCompile(`\bis is\b`),
}

// Whatever an event holds is told as a sentence of each language, whether it is known what things are called, or they are gone with who did it.
func TestEveryEventReadsWell(t *testing.T) {
	t.Parallel()
	payloads, err := filepath.Glob("../domain/testdata/events/*.json")
	if err != nil || len(payloads) < len(domain.Types()) {
		t.Fatal(payloads, err)
	}
	for _, payload := range payloads {
		data, err := os.ReadFile(payload)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(filepath.Base(payload), ".")
		for known, audit := range tellings(parts[0]+"."+parts[1], data) {
			for i, w := range allWords {
				text := w.describe(audit, audit.Entries[0])
				bare := regexp.MustCompile(w.Quotes[0]+".*?"+w.Quotes[1]).ReplaceAllString(text, "X")
				for _, wrong := range []*regexp.Regexp{unreadable[""], unreadable[languages[i]]} {
					if found := wrong.FindString(bare); found != "" {
						t.Errorf("%s, %s, in %s: %q in %q", filepath.Base(payload), known, languages[i], found, text)
					}
				}
			}
		}
	}
}

var anID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// tellings are an event in the eyes of an auditor who knows all about it, after everybody was erased, and when nothing is known.
func tellings(eventType string, data []byte) map[string]commands.Audit {
	anna, thing := uuid.New(), uuid.New()
	r := projections.Record{Type: eventType, Stream: "subtasks-" + thing.String(), Data: data}
	noun, _, _ := strings.Cut(eventType, ".")
	about := projections.ThingOf(r)
	if about.Noun, about.Of, about.Title = noun, anna, "Paint"; noun == "member" {
		about.Title = ""
	}
	task := projections.Thing{Noun: "task", ID: thing, Key: "WEB-1"}
	whole := commands.Entry{Record: r, Who: &commands.Who{ID: anna, Name: "Anna"}, About: about, Before: map[string]string{}}
	whole.About.On = &task
	if noun == "member" {
		whole.About.Title = "Anna"
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(data, &fields)
	things := map[uuid.UUID]projections.Thing{anna: {Noun: "member", ID: anna, Title: "Anna"}, thing: task}
	erased := map[uuid.UUID]projections.Thing{anna: {Noun: "member", ID: anna}}
	people := map[uuid.UUID]commands.Who{anna: {ID: anna, Status: commands.Erased}}
	for field, value := range fields {
		whole.Before[field] = string(value)
		for _, text := range anID.FindAllString(string(value), -1) {
			id := uuid.MustParse(text)
			called := projections.Refers(field)
			things[id], erased[id] = projections.Thing{Noun: called, ID: id, Title: "Anna"}, projections.Thing{Noun: called, ID: id}
			people[id] = commands.Who{ID: id, Status: commands.Erased}
		}
	}
	gone := commands.Entry{Record: r, Who: &commands.Who{ID: anna, Status: commands.Erased}, About: about}
	people[about.ID] = commands.Who{ID: about.ID, Status: commands.Erased}
	return map[string]commands.Audit{
		"all known":     {Entries: []commands.Entry{whole}, Things: things},
		"erased":        {Entries: []commands.Entry{gone}, Things: erased, People: people},
		"nothing known": {Entries: []commands.Entry{{Record: r, About: about}}},
	}
}

// What the registry of data says of data about people is said in every language, as it is now.
func TestTheLawIsTold(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, c := range domain.Data {
		for _, text := range append(slices.Clone(c.Recipients), c.Title, c.Purpose, c.Retention) {
			said[text] = true
			for i, w := range allWords[1:] {
				if c.Personal() && w.Law[text] == "" {
					t.Errorf("http/words/%s.json does not say %q", languages[i+1], text)
				}
			}
		}
	}
	for i, w := range allWords {
		for text := range w.Law {
			if !said[text] {
				t.Errorf("http/words/%s.json says %q, and domain/data_*.go does not any more", languages[i], text)
			}
		}
	}
}

func placeholders(sentence string) []string {
	all := placeholder.FindAllString(sentence, -1)
	slices.Sort(all)
	return all
}
