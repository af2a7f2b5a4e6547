package http

import (
	"encoding/json"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var personPage = template.Must(template.New("person").Parse(`{{define "begin"}}<!doctype html>
<html lang="{{.Language}}"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{.Words.Page.Title}}</title>
<style>body{font:16px/1.5 sans-serif;margin:2rem;max-width:70rem}table{border-collapse:collapse;font-size:14px;display:block;overflow-x:auto}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{font-weight:600}dd{margin:0}td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left;vertical-align:top;max-width:24rem;overflow-wrap:break-word}h2:first-letter,dd:first-letter{text-transform:uppercase}</style>
<h1>{{.Words.Page.Title}}</h1>
<p>{{with .Body.Member.FullName}}{{.}}{{end}} {{with .Body.Member.Email}}&lt;{{.}}&gt;{{end}}</p>
<p>{{.Words.Page.Made}} {{.Made}}.</p>
{{range .Notice}}<p>{{.}}</p>
{{end}}{{range .Body.Categories}}<h2>{{.Title}}</h2>
<dl><dt>{{$.Words.Page.Purpose}}</dt><dd>{{.Purpose}}</dd><dt>{{$.Words.Page.Basis}}</dt><dd>{{$.Words.Page.Article}} {{.Basis}}</dd>
<dt>{{$.Words.Page.Recipients}}</dt><dd>{{range $i, $to := .Recipients}}{{if $i}}; {{end}}{{$to}}{{else}}{{$.Words.Page.Nobody}}{{end}}</dd>
<dt>{{$.Words.Page.Kept}}</dt><dd>{{.Retention}}</dd></dl>
{{range .Data}}{{with $.Table .}}<h3>{{.Title}}</h3><table><tr>{{range .Columns}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table>
{{end}}{{end}}{{end}}<h2>{{.Words.Page.Events}}</h2><table><tr><th>{{.Words.Page.When}}</th><th>{{.Words.Page.What}}</th><th>{{.Words.Page.From}}</th></tr>
{{end}}{{define "event"}}<tr><td>{{.At.Format "2006-01-02 15:04:05"}} UTC</td><td>{{.Text}}</td><td>{{with .Meta}}{{.IP}} {{.UserAgent}}{{end}}</td></tr>
{{end}}{{define "end"}}</table></html>
{{end}}`))

// personHTML writes a page for people. The texts of members are shown as they are, and never run.
func personHTML(body personBody, told *words, language string, day time.Time, notice []string) (begin func(io.Writer) error, each func(io.Writer, entryBody) error, end func(io.Writer) error) {
	called := map[string]string{}
	for _, thing := range body.Things {
		called[thing.ID.String()] = strings.TrimSpace(thing.Key + " " + thing.Title)
	}
	begin = func(w io.Writer) error {
		return personPage.ExecuteTemplate(w, "begin", pageOfPerson{body, told, language, day.UTC().Format(time.DateOnly), notice, called})
	}
	each = func(w io.Writer, e entryBody) error {
		e.At = e.At.Truncate(time.Second)
		return personPage.ExecuteTemplate(w, "event", e)
	}
	return begin, each, func(w io.Writer) error { return personPage.ExecuteTemplate(w, "end", nil) }
}

type pageOfPerson struct {
	Body           personBody
	Words          *words
	Language, Made string
	Notice         []string
	Called         map[string]string // the keys and titles of Body.Things, by id
}

// tableOfPerson is a table for people: named columns, without those in which no row has anything.
type tableOfPerson struct {
	Title   string
	Columns []string
	Rows    [][]string
}

// bookkeeping is what Kluis keeps rows by: it comes last.
var bookkeeping = []string{"id", "name_key", "rank", "version", "position"}

// Table has the columns in the order of the registry of data.
func (p pageOfPerson) Table(of personTable) tableOfPerson {
	t := tableOfPerson{Title: p.Words.Tables[of.Kind], Rows: make([][]string, len(of.Rows))}
	for _, column := range columnsOf(of.Kind) {
		cells := make([]string, len(of.Rows))
		for i, row := range of.Rows {
			cells[i] = p.cell(column, row[column])
		}
		if !slices.ContainsFunc(cells, func(cell string) bool { return cell != "" }) {
			continue
		}
		t.Columns = append(t.Columns, p.Words.Columns[column])
		for i, cell := range cells {
			t.Rows[i] = append(t.Rows[i], cell)
		}
	}
	return t
}

// columnsOf are the columns of a table that may leave.
func columnsOf(table string) []string {
	var first, last []string
	for _, place := range domain.Places(domain.InWorkspace) {
		if place.Name != table {
			continue
		}
		for _, field := range place.Fields {
			switch {
			case slices.Contains(bookkeeping, field):
				last = append(last, field)
			case place.Leaves(field):
				first = append(first, field)
			}
		}
	}
	return append(first, last...)
}

// cell is a value for people: instants to the second, words for the words of a program, and the member by name.
func (p pageOfPerson) cell(column string, value json.RawMessage) string {
	var text string
	var several []json.RawMessage
	switch {
	case json.Unmarshal(value, &text) == nil:
		return p.text(column, text)
	case json.Unmarshal(value, &several) == nil:
		var parts []string
		for _, one := range several {
			parts = append(parts, p.cell(column, one))
		}
		return strings.Join(parts, ", ")
	}
	if word := p.Words.Values["is"][string(value)]; word != "" {
		return word
	}
	return string(value)
}

func (p pageOfPerson) text(column, text string) string {
	if word := p.Words.Values[column][text]; word != "" {
		return word
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if id, err := uuid.Parse(text); err == nil && id == p.Body.Member.ID && column != "id" && p.Body.Member.FullName != nil {
		return *p.Body.Member.FullName
	}
	if called := p.Called[text]; called != "" && column != "id" {
		return called
	}
	return text
}
