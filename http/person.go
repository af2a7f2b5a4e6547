package http

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	personAsked struct {
		ByID
		Format string `query:"format" default:"json" enum:"json,html" doc:"json for programs (Art. 20 of the GDPR); html is a page in the member's language, for people (Art. 15)."`
	}
	personGiven struct { // as Streamed is
		ContentType string `header:"Content-Type"`
		Language    string `header:"Content-Language" doc:"The language of the member, in which the log is told."`
		Disposition string `header:"Content-Disposition" doc:"A name for the file."`
		Position    int64  `header:"Kluis-Position" doc:"Of the event that tells of the request."`
		Body        func(huma.Context)
	}
	personBody struct {
		Member     memberBody       `json:"member"`
		Categories []personCategory `json:"categories" doc:"What is kept about the member, why, and for how long."`
		Things     []aboutBody      `json:"things" doc:"The tasks and projects that the data name by their ids, as far as the caller may see them."`
		Events     []entryBody      `json:"events" doc:"What the member did, the oldest first; then what others did to the member."`
	}
	personCategory struct {
		Name       string        `json:"name" example:"account"`
		Title      string        `json:"title" doc:"In the language of the member." example:"accounts of members"`
		Purpose    string        `json:"purpose" doc:"What it is for." example:"to know who is a member of the workspace"`
		Basis      string        `json:"basis" doc:"The letter of Art. 6 of the GDPR that makes it lawful." example:"6(1)(b)"`
		Recipients []string      `json:"recipients" doc:"Besides the workspace itself and the operator of Kluis for it."`
		Retention  string        `json:"retention" doc:"How long it is kept." example:"until the member logs out"`
		Data       []personTable `json:"data" doc:"What there is; empty when there is nothing, or when it is in the events."`
	}
	personTable struct {
		Kind string                       `json:"kind" doc:"What kind of thing it is." example:"session"`
		Rows []map[string]json.RawMessage `json:"rows" doc:"What is kept of each."`
	}
)

func person(a *api) {
	// It takes no Idempotency-Key: asked again, it answers with what there is by then, and the log tells of both.
	register(a, operation{Method: "POST", Path: "/api/members/{id}/data", ID: "export-member-data", Tag: "member", Status: http.StatusOK,
		Summary: "Get everything that there is about a member",
		Description: "For the member, and for whoever may `member:update` over all, in a session: also about somebody who left. It has the profile, sessions, tokens, work, time, files and what happened, with where the member did it from; " +
			"no password, secret or token; of others no more than what the caller sees anyway. The log tells that it was asked for.",
		Access: withSession, Produces: "text/html; charset=utf-8", OrProduces: []produces{{"application/json", reflect.TypeFor[personBody]()}}}, a.personData)
}

func (a *api) personData(ctx context.Context, by projections.Actor, in *personAsked) (*personGiven, error) {
	r := commands.Request{By: by, Origin: originOf(ctx)}
	data, err := a.Commands.RequestPersonData(ctx, r, in.ID)
	if err != nil {
		return nil, err
	}
	language, told := wordsFor(data.Member.Language)
	body := personBody{Categories: personCategories(data, told), Things: personThings(data)}
	if body.Member, err = a.showMember(ctx, r.By, data.Member); err != nil {
		return nil, err
	}
	out := &personGiven{ContentType: "application/json", Language: language, Position: data.Position, Disposition: `attachment; filename="` + in.ID.String() + "." + in.Format + `"`}
	begin, each, end := personJSON(body)
	if in.Format == "html" {
		out.ContentType = "text/html; charset=utf-8"
		now, err := a.Commands.DB.Now(ctx)
		if err != nil {
			return nil, err
		}
		begin, each, end = personHTML(body, told, language, now, a.personNotice(told, data.Workspace))
	}
	out.Body = a.streamed(false, func(ctx context.Context, s *stream) error {
		w := bufio.NewWriterSize(s, 1<<16)
		if err := begin(w); err != nil {
			return err
		}
		err := a.Commands.PersonEvents(ctx, r.By, in.ID, func(audit commands.Audit) error {
			for _, e := range a.entries(told, audit) {
				if err := each(w, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			err = end(w)
		}
		if err != nil {
			return err
		}
		return w.Flush()
	})
	return out, nil
}

// personNotice is what else there is to say to somebody about whom there are data (GDPR, Art. 15 (1) and (2)).
func (a *api) personNotice(told *words, workspace string) (notice []string) {
	fill := strings.NewReplacer("{workspace}", workspace, "{operator}", cmp.Or(a.Commands.Operator, told.Page.Unnamed),
		"{residency}", strings.TrimSuffix(a.Commands.PublicURL, "/")+"/api/compliance/residency?format=html")
	for _, text := range told.Page.Notice {
		notice = append(notice, fill.Replace(text))
	}
	return notice
}

// personThings are what the data name by id, in the order of their nouns and keys.
func personThings(data commands.PersonData) []aboutBody {
	all := []aboutBody{}
	for _, thing := range data.Things {
		all = append(all, showAbout(thing))
	}
	slices.SortFunc(all, func(a, b aboutBody) int {
		return cmp.Or(cmp.Compare(a.Noun, b.Noun), cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return all
}

// personCategories are the categories of what is about people, each with what there is.
func personCategories(data commands.PersonData, told *words) (all []personCategory) {
	for _, c := range domain.Data {
		if !c.Personal() {
			continue
		}
		shown := personCategory{Name: c.Name, Title: told.law(c.Title), Purpose: told.law(c.Purpose), Basis: string(c.Basis), Recipients: []string{}, Retention: told.law(c.Retention), Data: []personTable{}}
		for _, recipient := range c.Recipients {
			shown.Recipients = append(shown.Recipients, told.law(recipient))
		}
		for _, place := range data.Places {
			if place.Category.Name == c.Name {
				shown.Data = append(shown.Data, personTable{place.Name, place.Rows})
			}
		}
		all = append(all, shown)
	}
	return all
}

// personJSON writes a personBody without ever having all of its events.
func personJSON(body personBody) (begin func(io.Writer) error, each func(io.Writer, entryBody) error, end func(io.Writer) error) {
	comma := ""
	begin = func(w io.Writer) error {
		body.Events = []entryBody{}
		text, err := json.Marshal(body)
		if err == nil {
			_, err = w.Write([]byte(strings.TrimSuffix(string(text), "]}")))
		}
		return err
	}
	each = func(w io.Writer, e entryBody) error {
		text, err := json.Marshal(e)
		if err == nil {
			_, err = w.Write(append([]byte(comma+"\n"), text...))
			comma = ","
		}
		return err
	}
	return begin, each, func(w io.Writer) error { _, err := io.WriteString(w, "\n]}\n"); return err }
}
