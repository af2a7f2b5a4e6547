package words

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                              "",
		" !?… ":                         "",
		"Paint the door, twice!":        "door paint the twice",
		"WEB-12 v1.2 e_mail":            "12 2 e mail v1 web",
		"Crème brûlée, ÎLE":             "brulee creme ile",
		"Cre\u0300me":                   "creme",
		"STRASSE Straße":                "strasse",
		"Ångström ÆGIR Øre Łódź":        "aegir angstrom lodz ore",
		"İstanbul ISPARTA ısparta":      "isparta istanbul",
		"ﬁne ① Ｆｕｌｌ":                    "1 fine full",
		"ΑΘΉΝΑ Αθήνας":                  "αθηνα αθηνασ",
		"Ёлка ёлка":                     "елка",
		"مَدْرَسَة":                     "مدرسة",
		"कुल कल":                        "कल कुल",
		"東京都 に行く":                       "東京 京都 く に行 行く 都",
		"東京2020":                        "2020 京 東京",
		"が か\u3099":                     "が",
		"한글 시험":                         "시험 한글",
		"ไทย":                           "ทย ย ไท",
		"co\u00ADope\u200Brate":         "cooperate",
		"l'été d’hier":                  "d ete hier l",
		"'; drop table task; -- \\ '' ": "drop table task",
	} {
		words := strings.Fields(want)
		slices.Sort(words)
		if got := Of(text); !slices.Equal(got, words) {
			t.Errorf("%q: %q, want %q", text, got, words)
		}
	}
	for text, want := range map[string]string{"Pai": "'pai':*", "a door": "'a' & 'door':*", "東": "'東':*", "?": "", "v1": "'v1':*", "7": "'7'"} {
		if got := Query(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestLongTexts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 200)
	if got := Of(long); !slices.Equal(got, []string{strings.Repeat("e", 20), strings.Repeat("e", 60)}) {
		t.Errorf("%q", got)
	}
	var many strings.Builder
	for r := rune(0x20000); many.Len() < 4*60_000; r++ {
		many.WriteRune(r)
	}
	if got := Of(many.String()); len(got) != most {
		t.Errorf("%d words", len(got))
	}
}

// Whatever a text is, its words are whole characters that a tsvector takes without quoting, and a text is found by itself.
func TestEveryTextIsFoundByItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		words := Of(text)
		for i, word := range words {
			if !utf8.ValidString(word) || word == "" || strings.ContainsAny(word, "'\\ \x00") || i > 0 && words[i-1] >= word {
				t.Fatalf("%q in %q", word, words)
			}
		}
		for _, word := range words {
			if !strings.Contains(Query(text), "'"+word+"'") {
				t.Fatalf("%q is not in the query %s", word, Query(text))
			}
		}
		if again := Of(strings.Join(words, " ")); len(words) < 50 && !subset(words, again) {
			t.Fatalf("%q, folded again %q", words, again)
		}
	})
}

func subset(some, all []string) bool {
	for _, s := range some {
		if !slices.Contains(all, s) {
			return false
		}
	}
	return true
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for query, finds := range map[string]bool{"": true, "ann": true, "PEET ann": true, "peetérs": true, "nn": false, "ann x": false, "a": false, "org exam": true, "7": true, "77": false} {
		if Match(query, "Änn Peeters 7 <ann@example.org>") != finds {
			t.Errorf("%q finds it: %t", query, !finds)
		}
	}
}
