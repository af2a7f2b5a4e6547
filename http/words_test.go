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
		for _, text := range append(w.Months[:], w.Kluis, w.Erased, w.Nothing, w.And, w.Quotes[0], w.Quotes[1], w.Updated, w.Change, w.Rewritten, w.Other) {
			if text == "" {
				t.Errorf("http/words/%s.json lacks a word", languages[i])
			}
		}
	}
}

func placeholders(sentence string) []string {
	all := placeholder.FindAllString(sentence, -1)
	slices.Sort(all)
	return all
}
