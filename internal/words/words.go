// Package words finds the words of a text in the form in which they are searched: without case and accents, and with one form for characters
// that Unicode has in several. The same text gives the same words on every database, whatever its locale.
package words

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Limits of the words of one text: how many, characters of one word, bytes of all.
const (
	most    = 10_000
	longest = 60
	size    = 256 << 10
)

// Of returns the words of a text, each once, in the order of their bytes. A word is letters and digits; nothing between words is found. Where words
// are written without spaces (Chinese, Japanese, Thai, Khmer, Lao, Burmese), it returns each two neighbouring characters, and the last
// one.
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

// Vector returns words as the text of a Postgres tsvector, as Postgres writes it.
func Vector(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "'" + strings.Join(words, "' '") + "'"
}

// Query returns the text of a Postgres tsquery. It finds texts that have all words of text, or words that begin with them; a single letter or digit
// finds only itself. It is empty when text has no word.
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

// Match tells whether the Query of one text finds another text.
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

// begins tells whether a word in a query finds the words that begin with it.
func begins(word string) bool {
	first, n := utf8.DecodeRuneInString(word)
	return n < len(word) || unspaced(first)
}

// fold writes a text without case, accents, compatibility forms and invisible characters (Unicode Standard Annex 15, NFKC; full case
// folding). A letter that people search by another one, as ø by o, becomes that one.
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

// accent tells whether people leave a mark out when they search: accents, and the vowel signs of Arabic and Hebrew. The vowels of Indian
// scripts, and the marks that change the sound of a Japanese character, are part of a word.
func accent(r rune) bool {
	switch r {
	case '\u3099', '\u309A':
		return false
	}
	return unicode.Is(unicode.Mn, r) && unicode.In(r, unicode.Inherited, unicode.Arabic, unicode.Hebrew)
}

// unspaced tells whether a character belongs to a script that puts no spaces between words.
func unspaced(r rune) bool {
	return r >= 0x0E00 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) || r == 'ー')
}

// split yields the words of a folded text, in their order.
func split(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		begin, count := -1, 0 // of the current word
		last := ""            // the previous character, when it is unspaced
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
				if count++; count > longest { // the word is split
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

// part tells whether a character can be part of a word.
func part(r rune) bool { return unicode.In(r, unicode.Letter, unicode.Number, unicode.Mark) }
