package document

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{"day": day}).Parse(pageText))

func day(t time.Time) string { return t.Format(time.DateOnly) }

// HTML writes a whole page that loads nothing: no script, no font, no image.
func (d Document) HTML(to io.Writer) error {
	if err := page.Execute(to, d); err != nil {
		return fmt.Errorf("write %q as HTML: %w", d.Title, err)
	}
	return nil
}
