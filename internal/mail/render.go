package mail

import (
	"embed"
	"fmt"
	html "html/template"
	"io/fs"
	"path"
	"strings"
	text "text/template"
)

// Each text exists once per language, as texts/<language>/<template>.txt: the subject, an empty line, paragraphs. The paragraph that is indented is
// the code. layout.html makes the HTML of the same paragraphs, so the two cannot say different things.
//
//go:embed texts
var files embed.FS

var (
	texts  = text.Must(parseTexts())
	layout = html.Must(html.ParseFS(files, "texts/layout.html"))
)

// parseTexts parses all texts. Their names are "fr/locked" and the like.
func parseTexts() (*text.Template, error) {
	all := text.New("").Option("missingkey=zero")
	names, err := fs.Glob(files, "texts/*/*.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		words, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		key := strings.TrimSuffix(strings.TrimPrefix(name, "texts/"), path.Ext(name))
		if _, err := all.New(key).Parse(string(words)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Rendered is a mail in words.
type Rendered struct {
	Subject  string // one line
	Text     string // lines end in \n
	HTML     string // a whole page, everything in it escaped
	Language string // "en", "fr" or "nl"
}

// Render fills the message's text. The error is [ErrRefused] when the template or a value is unknown, or a value is missing.
func Render(m Message) (Rendered, error) {
	values, err := m.values()
	if err != nil {
		return Rendered{}, err
	}
	r := Rendered{Language: language(m.Language)}
	var words strings.Builder
	if err := texts.ExecuteTemplate(&words, r.Language+"/"+m.Template, values); err != nil {
		return Rendered{}, fmt.Errorf("render %s in %s: %w", m.Template, r.Language, err)
	}
	r.Subject, r.Text, _ = strings.Cut(words.String(), "\n\n")
	var page strings.Builder
	err = layout.Execute(&page, struct {
		Rendered
		Blocks []block
	}{r, blocks(r.Text)})
	if err != nil {
		return Rendered{}, fmt.Errorf("render %s in %s as HTML: %w", m.Template, r.Language, err)
	}
	r.HTML = page.String()
	return r, nil
}

type block struct {
	Text string
	Code bool
}

// blocks are the paragraphs of a text. A value is one line and never begins with a space, so no value makes or breaks a block.
func blocks(words string) []block {
	var all []block
	for paragraph := range strings.SplitSeq(strings.TrimRight(words, "\n"), "\n\n") {
		all = append(all, block{Text: strings.TrimSpace(paragraph), Code: strings.HasPrefix(paragraph, "    ")})
	}
	return all
}

// language is the language of the texts for a language tag (RFC 5646); English when there are none in that language.
func language(tag string) string {
	first, _, _ := strings.Cut(strings.ToLower(tag), "-")
	switch first {
	case "fr", "nl":
		return first
	}
	return "en"
}
