package domain

import "strings"

// UniqueName is a name that no other thing of its noun has, with the form in which names are compared. That form is a field of the event,
// so a new version of Unicode does not change the meaning of a log.
type UniqueName struct {
	Name    string `json:"name"`
	NameKey string `json:"name_key"`
}

// looksLike tells whether a reader can mistake the name for a word of Latin letters and digits.
func (n UniqueName) looksLike(word string) bool {
	return lookAlikes.Replace(n.NameKey) == lookAlikes.Replace(word)
}

// lookAlikes replaces each letter by the Latin letter that it looks like (from Unicode Technical Standard 39, the letters that remain after
// case folding), and i, l and 1 by i.
var lookAlikes = strings.NewReplacer("l", "i", "1", "i", "|", "i", "ı", "i", "ɩ", "i", "ɪ", "i", "ι", "i", "і", "i", "ӏ", "i", "0", "o", "ο", "o", "σ", "o", "о", "o", "օ", "o",
	"rn", "m", "vv", "w", "α", "a", "ɑ", "a", "а", "a", "ƅ", "b", "ь", "b", "в", "b", "ԁ", "d", "е", "e", "є", "e", "ҽ", "e", "ε", "e", "ɡ", "g", "ց", "g", "ո", "n", "η", "n", "п", "n",
	"г", "r", "ѕ", "s", "ꜱ", "s", "τ", "t", "т", "t", "υ", "u", "ʋ", "u", "ս", "u", "ν", "v", "ѵ", "v", "ԝ", "w", "ѡ", "w", "ա", "w", "γ", "y", "у", "y", "ү", "y", "м", "m")
