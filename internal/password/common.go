package password

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// COMMON.md says where the list comes from, its licence, and how it is made again.
//
//go:embed common.txt.gz
var commonList []byte

// commonSet is unpacked at its first use: some 18,000 lower-case passwords of 8 characters and more.
var commonSet = sync.OnceValue(func() map[string]struct{} {
	unpacked, err := gzip.NewReader(bytes.NewReader(commonList))
	if err != nil {
		panic(fmt.Sprintf("password: common.txt.gz: %v", err))
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		panic(fmt.Sprintf("password: common.txt.gz: %v", err))
	}
	set := map[string]struct{}{}
	for line := range strings.Lines(string(text)) {
		set[strings.TrimSuffix(line, "\n")] = struct{}{}
	}
	return set
})

// common tells whether a folded password is on the list, with or without punctuation around it ("Password1!"), or repeats one
// character.
func common(password string) bool {
	_, listed := commonSet()[password]
	_, bare := commonSet()[strings.TrimFunc(password, func(r rune) bool { return !wordRune(r) })]
	first, _ := utf8.DecodeRuneInString(password)
	return listed || bare || strings.Trim(password, string(first)) == ""
}
