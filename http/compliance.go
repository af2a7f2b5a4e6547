package http

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/document"
)

type (
	complianceAsked struct {
		Format string `query:"format" enum:"json,html,pdf" default:"json" doc:"html is a page for people, pdf the same to keep and to sign." example:"html"`
	}
	complianceShown struct { // as Streamed is
		ContentType string `header:"Content-Type"`
		Disposition string `header:"Content-Disposition" doc:"A name for the file of a PDF."`
		Body        func(huma.Context)
	}

	processingBody struct {
		Day           string             `json:"day" format:"date" doc:"The day of which the records are, by the clock of Brussels."`
		Processor     string             `json:"processor" doc:"Who runs this installation; empty when they have not said (KLUIS_OPERATOR)." example:"Example BV, Brussels, privacy@example.org"`
		Categories    []categoryBody     `json:"categories" doc:"Every category of data."`
		Measures      []string           `json:"measures" doc:"The measures that hold for all of it (GDPR, Art. 32)."`
		Subprocessors []subprocessorBody `json:"subprocessors" doc:"Those of the day."`
	}
	categoryBody struct {
		Name       string      `json:"name" doc:"A name that stays." example:"account"`
		Title      string      `json:"title" doc:"What the data are." example:"accounts of members"`
		Kinds      string      `json:"kinds" doc:"Which kinds of personal data; empty when there are none." example:"name, e-mail address, language, role"`
		Purpose    string      `json:"purpose" doc:"What they are for." example:"to know who is a member of the workspace"`
		Basis      string      `json:"basis" doc:"What makes it lawful: a letter of Art. 6 (1) of the GDPR." example:"6(1)(b)"`
		Subjects   []string    `json:"subjects" doc:"Of whom they are; none when they are nobody's."`
		Recipients []string    `json:"recipients" doc:"Who gets them, besides the workspace and the processor."`
		Retention  string      `json:"retention" doc:"How long they are kept." example:"until the workspace is erased"`
		Measures   []string    `json:"measures" doc:"What protects them, besides what protects all data."`
		Places     []placeBody `json:"places" doc:"Where they are."`
	}
	placeBody struct {
		Kind   string   `json:"kind" enum:"control,workspace,event,blob,job,mail,file" doc:"A table of the installation or of the workspace, an event, the bytes of files, a job, a mail, or something outside of the database."`
		Name   string   `json:"name" doc:"Of the table, the type of event, the kind of job, the mail." example:"member"`
		Fields []string `json:"fields" doc:"Columns, fields of the event, values of the mail."`
		Sealed []string `json:"sealed" doc:"Those that are encrypted at rest."`
	}
	subprocessorBody struct {
		Name      string `json:"name" doc:"Of the company." example:"Rack NV"`
		Purpose   string `json:"purpose" doc:"What it does." example:"servers"`
		Country   string `json:"country" doc:"Where it does so (ISO 3166-1 alpha-2)." example:"BE"`
		Data      string `json:"data" doc:"Which data it gets." example:"all, encrypted at rest"`
		Safeguard string `json:"safeguard" doc:"What protects data outside of the European Economic Area; empty inside." example:""`
	}
	subprocessorsBody struct {
		Day        string             `json:"day" format:"date" doc:"The day of which the list is, by the clock of Brussels."`
		Version    int                `json:"version" doc:"How often the list was changed, what is announced included." example:"3"`
		NoticeDays int                `json:"notice_days" doc:"How many days before another company gets data the admins of all workspaces are told." example:"30"`
		Items      []subprocessorBody `json:"items" doc:"Those of the day, by name."`
		Changes    []changeBody       `json:"changes" doc:"Every version of the list, the oldest first: what is announced has a day to come."`
	}
	changeBody struct {
		Version     int              `json:"version" doc:"Of the list, from 1." example:"3"`
		Removed     bool             `json:"removed" doc:"It was taken out; else it was put in, or in the place of what was said of it before."`
		Company     subprocessorBody `json:"company" doc:"Of one that was taken out, only the name."`
		EffectiveOn string           `json:"effective_on" format:"date" doc:"From which day on it is so."`
		AnnouncedAt time.Time        `json:"announced_at" doc:"When it was announced."`
	}
	residencyBody struct {
		Day           string             `json:"day" format:"date" doc:"The day of which it is told, by the clock of Brussels."`
		Regions       []regionBody       `json:"regions" doc:"Where data of workspaces are: a workspace is in one of them."`
		Subprocessors []subprocessorBody `json:"subprocessors" doc:"Who else gets data, on that day."`
	}
	regionBody struct {
		Name    string `json:"name" doc:"What a sign-up names." example:"be"`
		Country string `json:"country" doc:"The country of its database, files and checkpoints (ISO 3166-1 alpha-2)." example:"BE"`
		EEA     bool   `json:"eea" doc:"It is in the European Economic Area: always, or the server would not have started."`
	}

	packInput struct {
		Body struct {
			Name      string   `json:"name" minLength:"1" maxLength:"200" doc:"Of the person who asks." example:"Anna Peeters"`
			Email     string   `json:"email" format:"email" maxLength:"254" doc:"Where the documents go."`
			Company   string   `json:"company" minLength:"1" maxLength:"200" doc:"For whom the person asks." example:"Example BV"`
			Documents []string `json:"documents,omitempty" maxItems:"20" enum:"dpa,processing_records,subprocessors,residency,security_measures" doc:"Which documents. Left out, or none: all of them." example:"dpa,subprocessors"`
			Language  string   `json:"language,omitempty" enum:"en,fr,nl" doc:"Of the mail. Left out: English. The documents are in English."`
		}
	}
)

func compliance(a *api) {
	for _, d := range []struct {
		name, path, summary, more string
		body                      func(commands.Records) any
	}{
		{commands.ProcessingRecords, "processing-records", "Get the records of processing activities",
			"What data there are, of whom, why, for how long, where, and what protects them (GDPR, Art. 30).", showProcessing},
		{commands.SubprocessorList, "subprocessors", "Get the list of subprocessors",
			"The companies that process data for whoever runs this server, with every version of the list and what is announced (GDPR, Art. 28).", showSubprocessors},
		{commands.DPA, "dpa", "Get the data processing agreement",
			"A contract as Art. 28 (3) of the GDPR asks for it, with the records, the measures and the subprocessors of today as its annexes.", showDocument(commands.DPA)},
		{commands.Residency, "residency", "Get where the data are", "The regions of this installation, and what leaves them.", showResidency},
		{commands.SecurityMeasures, "security-measures", "Get the technical and organisational measures", "What protects the data (GDPR, Art. 32).", showDocument(commands.SecurityMeasures)},
	} {
		registerPublic(a, operation{Method: "GET", Path: "/api/compliance/" + d.path, ID: "get-" + d.path, Tag: "compliance", Status: http.StatusOK,
			Summary: d.summary, Description: d.more + " It says nothing of any workspace.", Access: public, Produces: "text/html; charset=utf-8",
			OrProduces: []produces{{"application/json", reflect.TypeOf(d.body(commands.Records{Day: "2026-01-01"}))}, {"application/pdf", nil}}},
			func(ctx context.Context, in *complianceAsked) (*complianceShown, error) {
				records, err := a.Commands.Records(ctx)
				if err != nil {
					return nil, err
				}
				return a.showRecords(ctx, records, d.name, in.Format, d.body)
			})
	}
	registerPublic(a, operation{Method: "POST", Path: "/api/security-pack", ID: "request-security-pack", Tag: "compliance", Status: http.StatusAccepted,
		Summary: "Have documents about how personal data are protected sent by mail",
		Description: "The documents go to the address as PDFs. It takes no account. At most 6 an hour from one network, else 429; an address that was sent 6 within an hour gets no more, which the answer does not tell. " +
			"Who asked, and for what, is kept for a year, encrypted.",
		Access: public},
		func(ctx context.Context, in *packInput) (*struct{}, error) {
			b := in.Body
			return nil, a.Commands.RequestPack(ctx, commands.PackRequest{Name: b.Name, Email: b.Email, Company: b.Company, Documents: b.Documents, Language: b.Language, From: originOf(ctx)})
		})
}

// pagePolicy lets a page of records have its own style, and nothing else.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (a *api) showRecords(ctx context.Context, records commands.Records, name, format string, body func(commands.Records) any) (*complianceShown, error) {
	shown := &complianceShown{ContentType: "application/json"}
	var text bytes.Buffer
	var err error
	switch format {
	case "html":
		shown.ContentType = "text/html; charset=utf-8"
		exchangeOf(ctx).header.Set("Content-Security-Policy", pagePolicy)
		err = records.Document(name).HTML(&text)
	case "pdf":
		shown.ContentType = "application/pdf"
		shown.Disposition = `attachment; filename="` + strings.ReplaceAll(name, "_", "-") + "-" + string(records.Day) + `.pdf"`
		var pdf []byte
		pdf, err = a.Commands.PDF(records, name)
		text.Write(pdf)
	default:
		err = json.NewEncoder(&text).Encode(body(records))
	}
	shown.Body = a.streamed(false, func(_ context.Context, w *stream) error {
		_, err := io.Copy(w, &text)
		return err
	})
	return shown, err
}

func showDocument(name string) func(commands.Records) any {
	return func(r commands.Records) any { return documentBody(r.Document(name)) }
}

// documentBody is a document, whose lists are never null.
func documentBody(d document.Document) document.Document {
	for i := range d.Sections {
		d.Sections[i].Text = neverNull(d.Sections[i].Text)
		d.Sections[i].List = neverNull(d.Sections[i].List)
	}
	return d
}

func neverNull[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func showProcessing(r commands.Records) any {
	body := processingBody{Day: string(r.Day), Processor: r.Operator, Measures: commands.GeneralMeasures, Subprocessors: showCompanies(r.Subprocessors())}
	for _, c := range domain.Data {
		shown := categoryBody{Name: c.Name, Title: c.Title, Kinds: c.Kinds, Purpose: c.Purpose, Basis: string(c.Basis), Subjects: neverNull(c.Subjects), Recipients: neverNull(c.Recipients),
			Retention: c.Retention, Measures: neverNull(c.Measures)}
		for _, p := range c.Places {
			shown.Places = append(shown.Places, placeBody{string(p.Kind), p.Name, neverNull(p.Fields), neverNull(p.Sealed)})
		}
		body.Categories = append(body.Categories, shown)
	}
	return body
}

func showCompanies(all []domain.Subprocessor) []subprocessorBody {
	shown := []subprocessorBody{}
	for _, s := range all {
		shown = append(shown, subprocessorBody(s))
	}
	return shown
}

func showSubprocessors(r commands.Records) any {
	body := subprocessorsBody{Day: string(r.Day), Version: r.Version(), NoticeDays: domain.SubprocessorNotice, Items: showCompanies(r.Subprocessors()), Changes: []changeBody{}}
	for _, c := range r.Changes {
		body.Changes = append(body.Changes, changeBody{c.Version, c.Removed, subprocessorBody(c.Subprocessor), string(c.Effective), c.At.UTC()})
	}
	return body
}

func showResidency(r commands.Records) any {
	body := residencyBody{Day: string(r.Day), Regions: []regionBody{}, Subprocessors: showCompanies(r.Subprocessors())}
	for _, region := range r.Regions {
		body.Regions = append(body.Regions, regionBody{region.Name, region.Country, true})
	}
	return body
}
