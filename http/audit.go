package http

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	recordBody struct {
		Position int64           `json:"position" doc:"In the workspace, from 1, without gaps, in commit order."`
		ID       uuid.UUID       `json:"id"`
		Stream   string          `json:"stream" example:"task-019308d5-7f6e-7cc1-a1bc-0c8a4ba1a2f1"`
		Version  int             `json:"version" doc:"In the stream, from 1."`
		Type     string          `json:"type" example:"task.completed"`
		At       time.Time       `json:"at"`
		Actor    *uuid.UUID      `json:"actor" doc:"The member who did it; null for Kluis itself."`
		Meta     *metaBody       `json:"meta" doc:"Where the request came from, and with which API token; null when nothing of it is known. A replay has address and program sealed."`
		Data     json.RawMessage `json:"data" doc:"The event as it was written. Personal data is sealed."`
	}
	entryBody struct { // a record with what is known of it
		Position int64           `json:"position" doc:"In the workspace, from 1, without gaps, in commit order."`
		ID       uuid.UUID       `json:"id" doc:"Of the event."`
		Stream   string          `json:"stream" example:"task-019308d5-7f6e-7cc1-a1bc-0c8a4ba1a2f1"`
		Version  int             `json:"version" doc:"In the stream, from 1."`
		Type     string          `json:"type" example:"task.completed"`
		At       time.Time       `json:"at"`
		Actor    *uuid.UUID      `json:"actor" doc:"The member who did it; null for Kluis itself."`
		Who      *whoBody        `json:"who" doc:"Who did it; null for Kluis itself."`
		About    aboutBody       `json:"about"`
		Text     string          `json:"text" doc:"What happened, in words, in the language of Content-Language. Things are called as they are called now." example:"Anna moved WEB-12"`
		Meta     *metaBody       `json:"meta" doc:"Where the request came from, and with which API token; null when nothing of it is known."`
		Data     json.RawMessage `json:"data" doc:"The event. Names and addresses in it are opened for whoever may read all members; a replay has them sealed."`
	}
	whoBody struct {
		ID     uuid.UUID `json:"id"`
		Name   string    `json:"name"`
		Status string    `json:"status"`
	}
	aboutBody struct {
		Noun  string     `json:"noun" doc:"What kind of thing the event is about." example:"task"`
		ID    *uuid.UUID `json:"id" doc:"Which one; null for a kind of which there is one."`
		Title string     `json:"title" doc:"How it is called now; empty when it has no name, or one that the caller may not see."`
		Key   string     `json:"key" doc:"Such as WEB-12; empty when it has none."`
	}
	metaBody struct {
		IP        string    `json:"ip,omitempty"`
		UserAgent string    `json:"user_agent,omitempty"`
		TokenID   uuid.UUID `json:"token_id,omitzero"`
	}
	auditList struct {
		Listing[int64]
		AuditFilter
		Told
	}
	// AuditFilter chooses records.
	AuditFilter struct {
		Actor  Ref      `query:"actor" doc:"Only what this member did."`
		Type   []string `query:"type" maxItems:"50" doc:"Only events of these types, comma separated; task.* is every type of the noun. 422 for a type that there is not." example:"task.completed,comment.*"`
		Noun   string   `query:"noun" maxLength:"50" doc:"Only events about this kind of thing: what their types begin with." example:"task"`
		ID     Ref      `query:"id" doc:"Only events about this thing."`
		Stream string   `query:"stream" maxLength:"100" doc:"Only records of this stream."`
		From   Instant  `query:"from" doc:"Only records at or after this instant. 410 pruned when that is before the horizon of the log."`
		To     Instant  `query:"to" doc:"Only records at or before this instant."`
		Text   string   `query:"text" maxLength:"200" doc:"Only events that have this text in their data, whatever the case of its letters. Sealed text is not found." example:"door"`
	}
	// Told says in which language the log, or a history, is told.
	Told struct {
		AcceptLanguage string `header:"Accept-Language" maxLength:"500" doc:"The language in which the log, or a history, is told (RFC 9110): en, fr or nl. Any other: en." example:"fr-BE, fr;q=0.9"`
	}
	auditReplay struct {
		From   int64 `query:"from" minimum:"1" doc:"The first position. 410 pruned when that record was pruned, with the horizon of the log; left out, the first that there is."`
		Epoch  int   `query:"epoch" minimum:"1" doc:"The epoch, as the header Kluis-Epoch of an earlier answer had it, of the log that the caller goes on with. When the log was restored from a backup since, the answer is 409 log_restored: what followed the backup is gone from it, and the caller begins anew."`
		Follow bool  `query:"follow" doc:"Go on with new records as they are committed, until the caller leaves or may read the log no more. A member may do so ten times at once."`
	}
	replayed struct { // as Streamed is
		Epoch int `header:"Kluis-Epoch" doc:"The epoch of the log: another after each restore from a backup. Send it back, as epoch, when you go on from a position."`
		Body  func(huma.Context)
	}
	entriesShown struct {
		Shown
		Language string `header:"Content-Language" doc:"The language in which the log is told."`
		Vary     string `header:"Vary" doc:"Accept-Language: another one gets another answer."`
		Body     page[entryBody]
	}
)

func audit(a *api) {
	register(a, operation{Method: "GET", Path: "/api/audit/events", ID: "list-audit-events", Tag: "audit", Status: http.StatusOK,
		Summary: "List the records of the log with who did it, what it is about, and in words, the newest first", Access: needs(domain.ReadAudit),
		Description: "An answer looks at about a thousand records, however long the log is: with a `text`, or several filters at once, it may have fewer entries than `limit`, or none, " +
			"and a `next_cursor` that goes on. The list is at its end when there is no cursor."}, a.listEntries)
	register(a, operation{Method: "GET", Path: "/api/audit/replay", ID: "replay-audit-log", Tag: "audit", Status: http.StatusOK,
		Summary: "Replay the log, one record a line, the oldest first", Access: needs(domain.ReadAudit),
		Description: "With `follow=true` the headers come at once, with `X-Accel-Buffering: no`, and a blank line after 15 s without a record: " +
			"no proxy between takes the answer for a dead one or holds it back. Pass over blank lines.\n\n" +
			"An answer that is not finished ends the connection, behind a whole line. The caller goes on with `from`, the position after the last line. " +
			"When the log lacks that record, the answer is 409 `log_damaged`, which names its position.",
		Produces: "application/x-ndjson", Lines: reflect.TypeFor[recordBody]()}, a.replay)
}

func (a *api) listEntries(ctx context.Context, by projections.Actor, in *auditList) (*entriesShown, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	f.Before = in.Cursor.After
	records, before, mark, err := a.Projections.ListRecords(ctx, by, f, in.Limit)
	if err != nil {
		return nil, err
	}
	a.Commands.NoteLogRead(by, originOf(ctx), "list-audit-events")
	name, told := wordsFor(in.AcceptLanguage)
	bodies, err := a.describeRecords(ctx, by, told, records)
	return &entriesShown{queryHeaders(mark, 0), name, "Accept-Language", pageWithNext(bodies, in.Listing, before)}, err
}

// filter makes a filter of the parameters, or refuses them.
func (f AuditFilter) filter() (projections.Filter, error) {
	types, err := domain.TypesOf(f.Type, f.Noun)
	if err != nil {
		return projections.Filter{}, err
	}
	chosen := projections.Filter{Actor: f.Actor.Value, Types: types, Stream: f.Stream, From: f.From.Value, To: f.To.Value, Text: inJSON(f.Text)}
	if f.ID.Value != nil {
		chosen.About = projections.AboutThing(*f.ID.Value)
	}
	return chosen, nil
}

// inJSON is a text as the data of an event have it.
func inJSON(text string) string {
	quoted, _ := json.Marshal(text) // a string cannot fail
	return string(quoted[1 : len(quoted)-1])
}

// describeRecords resolves what records are about, and tells each in a sentence.
func (a *api) describeRecords(ctx context.Context, by projections.Actor, told *words, records []projections.Record) ([]entryBody, error) {
	audit, err := a.Commands.ReadAudit(ctx, by, records)
	if err != nil {
		return nil, err
	}
	return a.entries(told, audit), nil
}

// entries are what is known of records, in words.
func (a *api) entries(told *words, audit commands.Audit) []entryBody {
	bodies := make([]entryBody, len(audit.Entries))
	for i, e := range audit.Entries {
		bodies[i] = entryBody{Position: e.Position, ID: e.ID, Stream: e.Stream, Version: e.Version, Type: e.Type, At: e.At.UTC(),
			Actor: e.Actor, Who: showWho(e.Who), About: showAbout(e.About), Text: told.describe(audit, e), Meta: showOrigin(e.Origin), Data: e.Data}
	}
	return bodies
}

func showWho(who *commands.Who) *whoBody {
	if who == nil {
		return nil
	}
	return &whoBody{ID: who.ID, Name: who.Name, Status: who.Status}
}

func showAbout(thing projections.Thing) aboutBody {
	body := aboutBody{Noun: thing.Noun, Title: thing.Title, Key: thing.Key}
	if thing.ID != uuid.Nil {
		body.ID = &thing.ID
	}
	return body
}

func showOrigin(o commands.Origin) *metaBody {
	if o == (commands.Origin{}) {
		return nil
	}
	m := &metaBody{UserAgent: o.UserAgent, TokenID: o.Token}
	if o.IP.IsValid() {
		m.IP = o.IP.String()
	}
	return m
}

// Schema is huma.SchemaProvider.
func (metaBody) Schema(huma.Registry) *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString}
	return orNull(map[string]*huma.Schema{"ip": text, "user_agent": text, "token_id": {Type: huma.TypeString, Format: "uuid"}})
}

// Schema is huma.SchemaProvider.
func (whoBody) Schema(huma.Registry) *huma.Schema {
	return orNull(map[string]*huma.Schema{
		"id":     {Type: huma.TypeString, Format: "uuid"},
		"name":   {Type: huma.TypeString, Description: "Also of a member who left; empty for one who was erased, and for a caller who may not read all members."},
		"status": {Type: huma.TypeString, Enum: []any{domain.Invited, domain.Active, domain.Deactivated, domain.Removed, commands.Erased}},
	}, "id", "name", "status")
}

// orNull is the schema of an object that may be null: huma has none.
func orNull(properties map[string]*huma.Schema, required ...string) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: false, Properties: properties, Required: required}
	s.PrecomputeMessages()
	return s
}

func (a *api) replay(ctx context.Context, by projections.Actor, in *auditReplay) (*replayed, error) {
	epoch, err := a.Projections.Begin(ctx, by.Workspace, in.From)
	if err != nil {
		return nil, a.Commands.Damaged(ctx, by.Workspace, err)
	}
	if in.Epoch != 0 && in.Epoch != epoch {
		return nil, domain.Refuse(domain.Conflict, "log_restored", "the log was restored from a backup, and is in epoch %d: what you have of epoch %d may not be in it, so read it from the first position", epoch, in.Epoch)
	}
	if in.Follow {
		if err := a.followers.acquire(ctx, by.Member); err != nil {
			return nil, err
		}
	}
	a.Commands.NoteLogRead(by, originOf(ctx), "replay-audit-log")
	return &replayed{Epoch: epoch, Body: a.streamed(in.Follow, func(ctx context.Context, w *stream) error {
		lines := bufio.NewWriterSize(w, 1<<16)
		var line []byte
		write := func(r projections.Record) error {
			line = append(r.AppendLine(line[:0]), '\n')
			if len(line) > lines.Available() { // or half of it would go now, and the rest perhaps never
				if err := lines.Flush(); err != nil {
					return err
				}
			}
			_, err := lines.Write(line)
			return err
		}
		flush := func() error {
			if err := lines.Flush(); err != nil {
				return err
			}
			return w.Flush()
		}
		return errors.Join(a.Projections.Replay(ctx, by, epoch, in.From, in.Follow, write, flush), flush()) // what comes before a record that is missing is the caller's as well
	})}, nil
}
