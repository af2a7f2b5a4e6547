package document_test

import (
	"bytes"
	"compress/zlib"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/kluis-eu/kluis/internal/document"
)

func sample() document.Document {
	d := document.Document{Title: "Récords <of> Żółć & Ωmega", Date: time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC)}
	for range 40 { // several pages
		d.Sections = append(d.Sections, document.Section{Title: "Who", Text: []string{strings.Repeat("A paragraph. ", 30), "Ünïcode € “quoted” — България"},
			List: []document.Item{{"A term that is longer than its column is wide", "one"}, {"x", strings.Repeat("long ", 200)}}})
	}
	return d
}

// Whatever is in a text is text.
func TestHTML(t *testing.T) {
	t.Parallel()
	d := sample()
	d.Sections = append(d.Sections, document.Section{Title: "<script>alert(1)</script>", List: []document.Item{{"<b>", `"><img src=x>`}}})
	var page strings.Builder
	if err := d.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Récords &lt;of&gt; Żółć &amp; Ωmega", "2026-03-07", "&lt;script&gt;", "Ünïcode € “quoted” — България"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %s", want)
		}
	}
	for _, never := range []string{"<script", "<img", "http:", "https:", "<no value>"} {
		if strings.Contains(page.String(), never) {
			t.Errorf("the page has %s", never)
		}
	}
}

// A PDF has every text of the document, in any of the Union's alphabets, and is the same bytes each time.
func TestPDF(t *testing.T) {
	t.Parallel()
	d := sample()
	var first, second bytes.Buffer
	for _, to := range []*bytes.Buffer{&first, &second} {
		if err := d.PDF(to); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two of one document differ")
	}
	if !bytes.HasPrefix(first.Bytes(), []byte("%PDF-1.")) || !bytes.HasSuffix(bytes.TrimSpace(first.Bytes()), []byte("%%EOF")) {
		t.Errorf("it is no PDF: %.20q", first.Bytes())
	}
	text := textOf(t, first.Bytes())
	for _, want := range []string{"Récords", "<of>", "Żółć", "Ωmega", "“quoted”", "България", "€", "A term that is"} {
		if !strings.Contains(text, want) {
			t.Errorf("the PDF does not show %q", want)
		}
	}
	if pages := bytes.Count(first.Bytes(), []byte("/Type /Page\n")); pages < 5 {
		t.Errorf("%d pages", pages)
	}
}

var streams = regexp.MustCompile(`(?s)stream\n(.*?)\nendstream`)

// textOf is what the streams of a PDF show, whose text is UTF-16.
func textOf(t *testing.T, pdf []byte) string {
	t.Helper()
	var text strings.Builder
	for _, s := range streams.FindAllSubmatch(pdf, -1) {
		r, err := zlib.NewReader(bytes.NewReader(s[1]))
		if err != nil {
			continue // a font
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		content = regexp.MustCompile(`(?s)\\([\\()])`).ReplaceAll(content, []byte("$1"))
		for offset := range 2 {
			var units []uint16
			for i := offset; i+1 < len(content); i += 2 {
				units = append(units, uint16(content[i])<<8|uint16(content[i+1]))
			}
			text.WriteString(string(utf16.Decode(units)))
		}
	}
	return text.String()
}
