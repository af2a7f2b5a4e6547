package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal is an output that somebody looks at. Text of others is in it: titles, names, files of other people. It must neither move the cursor nor
// colour, nor turn a line round, so that nobody reads what was not written. Such characters are shown as in JSON. What goes to a file or a pipe is
// left as it is, so that the lines of a replay can be hashed.
type terminal struct {
	file *os.File
	rest []byte // the beginning of a character
}

// shown is an output as somebody sees it, when it is a terminal.
func shown(out io.Writer) io.Writer {
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return &terminal{file: file}
	}
	return out
}

// Write is io.Writer.
func (t *terminal) Write(p []byte) (int, error) {
	text := slices.Concat(t.rest, p)
	end := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if last := text[len(text)-back:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				end -= back
			}
			break
		}
	}
	t.rest = append([]byte(nil), text[end:]...)
	if _, err := t.file.WriteString(visible(string(text[:end]), "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// visible shows the characters that a terminal, or a reader, would take for more than a character; but not those of allowed.
func visible(text, allowed string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case strings.ContainsRune(allowed, r):
			b.WriteRune(r)
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
