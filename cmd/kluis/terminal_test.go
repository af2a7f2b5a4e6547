package main

import (
	"io"
	"os"
	"testing"
)

// What others have written neither moves the cursor of a terminal nor turns a line round, wherever it is divided.
func TestTerminal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"position 7: changed\n":      "position 7: changed\n",
		"\x1b[2K\racme: all is well": `\u001b[2K\u000dacme: all is well`,
		"\u009b2J":                   `\u009b2J`,
		"\x9b2J":                     `\x9b2J`,
		"a\u202egnp.exe":             `a\u202egnp.exe`,
		"\u2066x\u2069\u061c":        `\u2066x\u2069\u061c`,
		"a\u2028b\u2029\x7f\b":       `a\u2028b\u2029\u007f\u0008`,
		"née 東京 👩‍💻 \ufffd":          "née 東京 👩‍💻 \ufffd",
		"tab\tnew\n":                 "tab\tnew\n",
	} {
		for size := 1; size <= len(text); size++ {
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			screen := &terminal{file: write}
			for i := 0; i < len(text); i += size {
				if _, err := io.WriteString(screen, text[i:min(i+size, len(text))]); err != nil {
					t.Fatal(err)
				}
			}
			write.Close()
			if got, err := io.ReadAll(read); string(got) != want || err != nil {
				t.Errorf("%q, %d bytes at once: %q, %v; want %q", text, size, got, err, want)
			}
			read.Close()
		}
	}
	if got := visible("a\nb", ""); got != `a\u000ab` {
		t.Errorf("one line: %q", got)
	}
}
