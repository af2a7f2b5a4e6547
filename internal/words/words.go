// Package words finds the words of a text, in the form in which they are searched: without case, accents and the forms of one
// character that Unicode keeps apart. The same text gives the same words on every database, whatever its locale.
package words

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The limits of what is found: words of one text, characters of one word, bytes of all.
const (
	most    = 10_000
	longest = 60
	size    = 256 << 10
)

// Of gives the words of a text, each once, in the order of their bytes. A word is letters and digits; what stands between them is
// not found. Where words are written without spaces (Chinese, Japanese, Thai, Khmer, Lao, Burmese) it gives each two characters that stand side by
// side, and the last one.
func Of(text string) []string {
	seen := map[string]bool{}
	var all []string
	room := size
	for word := range split(fold(text)) {
		if seen[word] {
			continue
		}
		if room -= len(word); room < 0 || len(all) == most {
			break
		}
		seen[word] = true
		all = append(all, word)
	}
	slices.Sort(all)
	return all
}

// Vector is the text form of a Postgres tsvector that holds words, as Postgres writes it.
func Vector(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "'" + strings.Join(words, "' '") + "'"
}

// Query is the text form of a Postgres tsquery that finds what has all words of a text, or words that begin with them; one letter or
// digit stands for itself alone. It is empty when there is no word in the text.
func Query(text string) string {
	var terms []string
	for _, word := range Of(text) {
		term := "'" + word + "'"
		if begins(word) {
			term += ":*"
		}
		terms = append(terms, term)
	}
	return strings.Join(terms, " & ")
}

// Match tells whether Query of a text finds another one.
func Match(query, text string) bool {
	there := Of(text)
	for _, word := range Of(query) {
		at, is := slices.BinarySearch(there, word)
		if !is && (!begins(word) || at == len(there) || !strings.HasPrefix(there[at], word)) {
			return false
		}
	}
	return true
}

// begins tells whether a word that is looked for finds those that begin with it.
func begins(word string) bool {
	first, n := utf8.DecodeRuneInString(word)
	return n < len(word) || unspaced(first)
}

// fold writes a text without case, accents, compatibility forms and what is drawn as nothing (Unicode Standard Annex 15, NFKC; full case folding). What is a
// letter of its own and yet looked for by another one, as ø by o, is that one.
func fold(text string) string {
	if ascii(text) {
		return strings.ToLower(text)
	}
	bare := strings.Map(func(r rune) rune {
		if accent(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(cases.Fold().String(text)))
	return norm.NFKC.String(likened.Replace(cases.Fold().String(bare)))
}

var likened = strings.NewReplacer("æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "þ", "th", "ł", "l", "ħ", "h", "ŧ", "t", "ı", "i", "ŋ", "n")

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// accent tells of a mark that people leave out: accents, and the vowel signs of Arabic and Hebrew. The vowels of Indian scripts, and the
// marks that make another sound of a Japanese one, are part of a word.
func accent(r rune) bool {
	switch r {
	case '\u3099', '\u309A':
		return false
	}
	return unicode.Is(unicode.Mn, r) && unicode.In(r, unicode.Inherited, unicode.Arabic, unicode.Hebrew)
}

// unspaced tells of a character of a script that puts no spaces between words.
func unspaced(r rune) bool {
	return r >= 0x0E00 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) || r == 'ー')
}

// split gives the words of a folded text, in their order.
func split(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		begin, count := -1, 0 // of the word that goes on
		last := ""            // the unspaced character before
		end := func(at int) bool {
			word := ""
			switch {
			case begin >= 0:
				word, begin, count = text[begin:at], -1, 0
			case last != "":
				word, last = last, ""
			default:
				return true
			}
			return yield(word)
		}
		for i, r := range text {
			char := text[i : i+max(1, utf8.RuneLen(r))]
			switch {
			case unspaced(r) && part(r):
				if begin >= 0 && !end(i) || last != "" && !yield(last+char) {
					return
				}
				last = char
			case part(r):
				if last != "" && !end(i) {
					return
				}
				if begin < 0 {
					begin = i
				}
				if count++; count > longest { // what follows is not found
					word := text[begin:i]
					begin, count = i, 1
					if !yield(word) {
						return
					}
				}
			default:
				if !end(i) {
					return
				}
			}
		}
		end(len(text))
	}
}

// part tells of a character that is part of a word.
func part(r rune) bool { return unicode.In(r, unicode.Letter, unicode.Number, unicode.Mark) }
