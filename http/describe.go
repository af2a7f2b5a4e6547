package http

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/shown"
	"github.com/kluis-eu/kluis/projections"
)

// describe tells an entry of the log in one sentence.
func (w *words) describe(a commands.Audit, e commands.Entry) string {
	t := describer{words: w, audit: a, entry: e}
	_ = json.Unmarshal(e.Data, &t.data) // nothing is in one that is no object
	sentence, known := w.Types[e.Type]
	switch {
	case !known && projections.Updates(e.Type):
		sentence = w.Updated
	case !known:
		sentence = w.Other
	}
	return t.fill(sentence, t.part)
}

// describer makes the sentence of one entry.
type describer struct {
	*words
	audit commands.Audit
	entry commands.Entry
	data  map[string]json.RawMessage
}

var (
	placeholder = regexp.MustCompile(`\{[\w.]+\}`)
	bracketed   = regexp.MustCompile(`\[[^\[\]]*\]`)
)

// fill is a sentence with its parts. Those of our own words that it begins with get a capital; names are as people write them.
func (t *describer) fill(sentence string, part func(name string) string) string {
	sentence = bracketed.ReplaceAllStringFunc(sentence, func(some string) string {
		for _, name := range placeholder.FindAllString(some, -1) {
			if said := part(name[1 : len(name)-1]); said == "" || said == t.Nothing {
				return ""
			}
		}
		return some[1 : len(some)-1]
	})
	var text strings.Builder
	for {
		at := placeholder.FindStringIndex(sentence)
		if at == nil {
			text.WriteString(sentence)
			return text.String()
		}
		said := part(sentence[at[0]+1 : at[1]-1])
		if text.Len() == 0 && at[0] == 0 && t.isCommonNoun(said) {
			first, size := utf8.DecodeRuneInString(said)
			said = string(unicode.ToUpper(first)) + said[size:]
		}
		text.WriteString(t.join(sentence[:at[0]], said))
		sentence = sentence[at[1]:]
	}
}

// isCommonNoun tells whether a part of a sentence is a word of ours, such as "a task", and not a name.
func (t *describer) isCommonNoun(said string) bool {
	return said == t.Erased || slices.Contains([]string{t.Nouns["member"], t.Nouns[t.entry.About.Noun]}, said)
}

// join is a part behind what comes before it.
func (t *describer) join(before, said string) string {
	for _, j := range t.Joins {
		if stem, is := strings.CutSuffix(before, j.End); is && j.begins.MatchString(said) {
			return stem + j.Becomes + said
		}
	}
	return before + said
}

// part is a part of a sentence: {who} did it, {what} it is about, the task that this is {on}, the member whose it is ({of}), the task that
// another one came below ({above}), all {things} that were asked for, how many {times} when that is more than once; and fields of
// the event by their names, with .before as they were, and for lists .added and .removed.
func (t *describer) part(name string) string {
	field, how, _ := strings.Cut(name, ".")
	switch how {
	case "before":
		return t.value(field, t.before(field))
	case "added":
		return t.value(field, without(t.data[field], t.before(field)))
	case "removed":
		return t.value(field, without(t.before(field), t.data[field]))
	}
	switch about := t.entry.About; name {
	case "who":
		return t.who()
	case "what":
		return t.thing(about)
	case "on":
		if about.On == nil {
			return ""
		}
		return t.thing(*about.On)
	case "of":
		return t.refer("member", about.Of)
	case "above":
		return t.refer("task", projections.Above(t.entry.Record))
	case "type":
		return t.entry.Type
	case "changes":
		return t.changes()
	case "things":
		return t.things()
	case "times":
		if count := string(t.data["count"]); count != "1" {
			return count
		}
		return ""
	}
	return t.value(name, t.data[name])
}

func (t *describer) before(field string) json.RawMessage {
	return json.RawMessage(t.entry.Before[field])
}

// without is a list without what another one has.
func without(list, other json.RawMessage) json.RawMessage {
	var all, there []json.RawMessage
	if json.Unmarshal(list, &all) != nil || json.Unmarshal(other, &there) != nil {
		return nil
	}
	all = slices.DeleteFunc(all, func(one json.RawMessage) bool {
		return slices.ContainsFunc(there, func(o json.RawMessage) bool { return string(o) == string(one) })
	})
	text, _ := json.Marshal(all) // it was JSON
	return text
}

func (t *describer) who() string {
	switch who := t.entry.Who; {
	case who == nil:
		return t.Kluis
	case who.Name != "":
		return t.name(who.Name)
	case who.Status == commands.Erased:
		return t.Erased
	}
	return t.Nouns["member"]
}

// thing calls a thing by its key, else by its title, else by what it is.
func (t *describer) thing(thing projections.Thing) string {
	switch {
	case thing.Key != "":
		return thing.Key
	case thing.Title != "" && thing.Noun == "member":
		return t.name(thing.Title)
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
func (t *describer) things() string {
	var all []string
	for _, asked := range projections.AskedFor(t.data) {
		if known, there := t.audit.Things[asked.ID]; there {
			asked = known
		}
		all = append(all, t.thing(asked))
	}
	return strings.Join(slices.Compact(all), ", ")
}

// quote puts a text between quotation marks. Those in the text become single ones, so that none of it reads as another act.
func (t *describer) quote(text string) string {
	single := strings.NewReplacer(strings.TrimSpace(t.Quotes[0]), "'", strings.TrimSpace(t.Quotes[1]), "'")
	return t.Quotes[0] + single.Replace(shown.Line(text)) + t.Quotes[1]
}

// name is the name of a member. One who is called like the program is put between quotation marks.
func (t *describer) name(text string) string {
	if text = shown.Line(text); strings.EqualFold(text, t.Kluis) {
		return t.quote(text)
	}
	return text
}

// tooLong are fields whose texts are not told: that they changed is.
var tooLong = []string{"description", "body", "ca"}

func (t *describer) changes() string {
	var changes []string
	for field := range t.data {
		sentence := t.Change
		if slices.Contains(tooLong, field) {
			sentence = t.Rewritten
		}
		changes = append(changes, t.fill(sentence, func(name string) string {
			switch name {
			case "old":
				return t.value(field, t.before(field))
			case "new":
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
func (t *describer) value(field string, value json.RawMessage) string {
	var text string
	var many []json.RawMessage
	switch {
	case len(value) == 0 || string(value) == "null" || string(value) == `""`:
		return t.Nothing
	case json.Unmarshal(value, &many) == nil:
		return t.list(field, many)
	case json.Unmarshal(value, &text) != nil:
		return t.figure(field, value)
	}
	if noun := projections.Refers(field); noun != "" {
		id, err := uuid.Parse(text)
		if err != nil {
			return t.quote(text)
		}
		return t.refer(noun, id)
	}
	if word := t.word(field, text); word != "" {
		return word
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return t.day(at)
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.day(at.UTC()) + t.At + at.UTC().Format("15:04") + " UTC"
	}
	return t.quote(text)
}

// word is what stands for a word of the program; empty for none. Of what was not found it is the same whatever it was.
func (t *describer) word(field, text string) string {
	if field == "code" && strings.HasSuffix(text, "_not_found") {
		text = "not_found"
	}
	return t.Values[field][text]
}

func (t *describer) list(field string, many []json.RawMessage) string {
	all := make([]string, len(many))
	for i, one := range many {
		all[i] = t.value(field, one)
	}
	if len(all) == 0 {
		return t.Nothing
	}
	return strings.Join(all, ", ")
}

// figure tells a number, or true or false, or what a role or a token may do.
func (t *describer) figure(field string, value json.RawMessage) string {
	var seconds int64
	var grant domain.Grant
	switch {
	case field == "retention_seconds" && json.Unmarshal(value, &seconds) == nil:
		return strconv.FormatFloat((time.Duration(seconds)*time.Second).Hours()/24, 'f', -1, 64) + t.Days
	case field == "grants" && json.Unmarshal(value, &grant) == nil:
		return grant.Resource + ":" + grant.Action + " (" + t.word("scope", string(grant.Scope)) + ")"
	}
	if word := t.Values["is"][string(value)]; word != "" {
		return word
	}
	return string(value)
}

func (t *describer) day(at time.Time) string {
	day := strconv.Itoa(at.Day())
	if at.Day() == 1 {
		day = t.First
	}
	return day + " " + t.Months[at.Month()-1] + " " + strconv.Itoa(at.Year())
}

// refer calls the thing with an id.
func (t *describer) refer(noun string, id uuid.UUID) string {
	if thing, there := t.audit.Things[id]; there {
		return t.thing(thing)
	}
	return t.thing(projections.Thing{Noun: noun, ID: id})
}
