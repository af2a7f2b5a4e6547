package http

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/shown"
	"github.com/kluis-eu/kluis/projections"
)

type (
	exportAsked struct {
		AuditFilter
		Told
		Format string `query:"format" required:"true" enum:"csv,json,ndjson" doc:"csv for a spreadsheet and json have what the list of events has; ndjson has the lines of a replay, which are checked against the checkpoint."`
		After  int64  `query:"after" minimum:"0" doc:"Only records behind this position: the last one that the caller has, to go on with an export that was broken off." example:"1000"`
	}
	exported struct { // as Streamed is
		ContentType string `header:"Content-Type"`
		Language    string `header:"Content-Language" doc:"The language in which the log is told."`
		Disposition string `header:"Content-Disposition" doc:"A name for the file."`
		Position    int64  `header:"Kluis-Position" doc:"The last position that the export reaches."`
		Checkpoint  string `header:"Kluis-Checkpoint" doc:"The signed checkpoint of the log that the export reaches to, in base64."`
		Body        func(huma.Context)
	}
	exportBody struct {
		Checkpoint string      `json:"checkpoint" doc:"The signed checkpoint of the log that the export reaches to (C2SP tlog-checkpoint)." example:"kluis.example.org/019c0a3e-5b1c-7c11-9f0e-2a54c3c1d9a0/1"`
		Records    []entryBody `json:"records" doc:"The oldest first."`
	}
)

// exportMedia are the media types of formats.
var exportMedia = map[string]string{"csv": "text/csv; charset=utf-8", "json": "application/json", "ndjson": "application/x-ndjson"}

func auditExport(a *api) {
	register(a, operation{Method: "GET", Path: "/api/audit/export", ID: "export-audit-log", Tag: "audit", Status: http.StatusOK,
		Summary: "Export the log as CSV, JSON or NDJSON, the oldest first", Access: needs(domain.ReadAudit),
		Description: "The answer comes as it is made, of any length; one that is broken off ends the connection, and `after` goes on. When an export without filters goes on at a record that the log lacks, the answer is 409 `log_damaged`, which names its position. It reaches to the checkpoint beside it. " +
			"With a spreadsheet in mind, a cell of CSV that would be a formula has an apostrophe before it. For workspaces on the plans business and enterprise; else 403 `plan_required`: `GET /api/audit/replay` has the records on every plan.",
		Produces: exportMedia["ndjson"], Lines: reflect.TypeFor[recordBody](),
		OrProduces: []produces{{exportMedia["json"], reflect.TypeFor[exportBody]()}, {exportMedia["csv"], nil}}}, a.exportLog)
}

func (a *api) exportLog(ctx context.Context, by projections.Actor, in *exportAsked) (*exported, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	workspace, _, err := a.Projections.GetWorkspace(ctx, by.Workspace)
	if err == nil {
		err = workspace.NeedPlan("business", "enterprise")
	}
	if err != nil {
		return nil, err
	}
	f.After = in.After
	if err := a.Projections.Within(ctx, by.Workspace, f); err != nil {
		return nil, a.Commands.Damaged(ctx, by.Workspace, err)
	}
	signed, at, err := a.Commands.Checkpoint(ctx, by.Workspace)
	if err != nil {
		return nil, err
	}
	a.Commands.NoteLogExported(by, originOf(ctx), "export-audit-log")
	f.After, f.UpTo = in.After, max(at.Size, 1) // nothing is at 0, which would be no bound
	name, told := wordsFor(in.AcceptLanguage)
	return &exported{
		ContentType: exportMedia[in.Format], Language: name, Position: at.Size, Checkpoint: base64.StdEncoding.EncodeToString(signed),
		Disposition: `attachment; filename="` + workspace.Slug + `-log.` + in.Format + `"`,
		Body: a.streamed(false, func(ctx context.Context, w *stream) error {
			out := bufio.NewWriterSize(w, 1<<16)
			write := exportWriters[in.Format](out, string(signed))
			err := a.Projections.Chosen(ctx, by, f, func(records []projections.Record) error {
				var entries []entryBody
				if in.Format != "ndjson" {
					var err error
					if entries, err = a.describeRecords(ctx, by, told, records); err != nil {
						return err
					}
				}
				return write.page(records, entries)
			})
			if err == nil {
				err = write.end()
			}
			return errors.Join(err, out.Flush(), w.Flush()) // what comes before a record that is missing is the caller's as well
		})}, nil
}

// exportWriter writes an export.
type exportWriter interface {
	page(records []projections.Record, entries []entryBody) error
	end() error
}

var exportWriters = map[string]func(out *bufio.Writer, checkpoint string) exportWriter{
	"ndjson": func(out *bufio.Writer, _ string) exportWriter { return lineWriter{out} },
	"json": func(out *bufio.Writer, checkpoint string) exportWriter {
		return &jsonWriter{out: out, checkpoint: checkpoint}
	},
	"csv": newTable,
}

type lineWriter struct{ out *bufio.Writer }

func (l lineWriter) page(records []projections.Record, _ []entryBody) error {
	var line []byte
	for _, r := range records {
		line = append(r.AppendLine(line[:0]), '\n')
		if _, err := l.out.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func (lineWriter) end() error { return nil }

// jsonWriter writes an exportBody, without ever having all of it.
type jsonWriter struct {
	out        *bufio.Writer
	checkpoint string
	begun      bool
}

func (j *jsonWriter) begin() error {
	if j.begun {
		return nil
	}
	j.begun = true
	text, err := json.Marshal(j.checkpoint)
	if err == nil {
		_, err = j.out.WriteString(`{"checkpoint":` + string(text) + `,"records":[`)
	}
	return err
}

func (j *jsonWriter) page(_ []projections.Record, entries []entryBody) error {
	for _, e := range entries {
		comma := ","
		if !j.begun {
			comma = ""
		}
		text, err := json.Marshal(e)
		if err == nil {
			err = j.begin()
		}
		if err == nil {
			_, err = j.out.WriteString(comma + "\n" + string(text))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *jsonWriter) end() error {
	if err := j.begin(); err != nil {
		return err
	}
	_, err := j.out.WriteString("\n]}\n")
	return err
}

// tableWriter writes CSV (RFC 4180).
type tableWriter struct{ rows *csv.Writer }

func newTable(out *bufio.Writer, _ string) exportWriter {
	t := tableWriter{csv.NewWriter(out)}
	t.rows.UseCRLF = true
	_ = t.rows.Write([]string{"position", "at", "type", "text", "actor", "name", "status", "noun", "id", "key", "title", "ip", "user_agent", "token_id", "stream", "version", "event_id", "data"}) // it fails at the next one
	return t
}

func (t tableWriter) page(_ []projections.Record, entries []entryBody) error {
	for _, e := range entries {
		if err := t.rows.Write(e.row()); err != nil {
			return err
		}
	}
	return t.end()
}

func (t tableWriter) end() error {
	t.rows.Flush()
	return t.rows.Error()
}

// row is an entry as cells.
func (e entryBody) row() []string {
	var who whoBody
	var actor, about string
	if e.Actor != nil {
		actor = e.Actor.String()
	}
	if e.Who != nil {
		who = *e.Who
	}
	if e.About.ID != nil {
		about = e.About.ID.String()
	}
	var meta metaBody
	if e.Meta != nil {
		meta = *e.Meta
	}
	var token string
	if meta.TokenID != uuid.Nil {
		token = meta.TokenID.String()
	}
	row := []string{strconv.FormatInt(e.Position, 10), e.At.Format(time.RFC3339Nano), e.Type, e.Text, actor, who.Name, who.Status, e.About.Noun, about, e.About.Key, e.About.Title,
		meta.IP, meta.UserAgent, token, e.Stream, strconv.Itoa(e.Version), e.ID.String(), string(bytes.TrimSpace(e.Data))}
	for i, cell := range row {
		row[i] = shown.Cell(cell)
	}
	return row
}
