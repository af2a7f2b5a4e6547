package http

import (
	"cmp"
	"embed"
	"encoding/json"
	"regexp"

	"golang.org/x/text/language"

	"github.com/kluis-eu/kluis/domain"
)

// words is what tells of the log in one language: a sentence for each type of event, whose parts are those of a teller. What stands
// between [ and ] is left out when one of its parts says nothing. A new type of event brings its sentence: words_test.go names those that are missing.
type words struct {
	Kluis, Erased, Nothing string
	And                    string
	At, First, Days        string // between a day and a time; the first of a month; so many days
	Quotes                 [2]string
	Updated, Change        string // of events whose fields are those that changed
	Rewritten              string // of a field that is too long to be told
	Other                  string // of a type that a newer kluis wrote
	Months                 [12]string
	Nouns, Fields, Types   map[string]string
	Values                 map[string]map[string]string // by field: what stands for the words of a program
	Tables, Columns        map[string]string            // of what is kept about one member: headings
	Joins                  []wordsJoin                  // of a sentence with its parts
	Page                   struct {                     // about one member
		Title, Events, Article, Purpose, Basis, Recipients, Nobody, Kept, Made, Unnamed, When, What, From string
		Notice                                                                                            []string // what else Art. 15 asks to be said
	}
	Law map[string]string // what the registry of data says in English: see law
}

// wordsJoin says what an end of the sentence becomes before a part that begins in some way: "de " and "Anna" are "d’Anna" in French.
type wordsJoin struct {
	End, Becomes, Begins string
	begins               *regexp.Regexp
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
		for i, j := range w.Joins {
			w.Joins[i].begins = regexp.MustCompile("^(?:" + j.Begins + ")")
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
