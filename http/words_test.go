package http

import (
	"slices"
	"strings"
	"testing"

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
				t.Errorf("http/words/%s.json does not tell of %s", languages[i], eventType)
			}
			if got, want := placeholders(sentence), placeholders(allWords[0].Types[eventType]); !slices.Equal(got, want) {
				t.Errorf("http/words/%s.json tells of %s with %v, English with %v", languages[i], eventType, got, want)
			}
			noun, _, _ := strings.Cut(eventType, ".")
			if w.Nouns[noun] == "" {
				t.Errorf("http/words/%s.json does not say what a %s is", languages[i], noun)
			}
		}
		for field := range allWords[0].Fields {
			if w.Fields[field] == "" {
				t.Errorf("http/words/%s.json does not name the field %s", languages[i], field)
			}
		}
		for _, text := range append(w.Months[:], w.Kluis, w.Erased, w.Nothing, w.And, w.Quotes[0], w.Quotes[1], w.Updated, w.Change, w.Rewritten, w.Other, w.Page.Title, w.Page.Events, w.Page.Article) {
			if text == "" {
				t.Errorf("http/words/%s.json lacks a word", languages[i])
			}
		}
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
