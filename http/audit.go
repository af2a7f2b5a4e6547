package http

import (
	"bufio"
	"context"
	"encoding/json"
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
		Meta     *metaBody       `json:"meta" doc:"Where the request came from; null when that is not known, or the person was erased. A replay has it sealed."`
		Data     json.RawMessage `json:"data" doc:"The event as it was written. Personal data is sealed."`
	}
	metaBody struct {
		IP        string `json:"ip,omitempty"`
		UserAgent string `json:"user_agent,omitempty"`
	}
	auditList struct {
		Listing[int64]
		Actor  Ref     `query:"actor"`
		Type   string  `query:"type" maxLength:"100"`
		Stream string  `query:"stream" maxLength:"100"`
		From   Instant `query:"from" doc:"Only records at or after this instant."`
		To     Instant `query:"to" doc:"Only records at or before this instant."`
	}
	auditReplay struct {
		From   int64 `query:"from" minimum:"1" default:"1" doc:"The first position."`
		Epoch  int   `query:"epoch" minimum:"1" doc:"The epoch, as the header Kluis-Epoch of an earlier answer had it, of the log that the caller goes on with. When the log was restored from a backup since, the answer is 409 log_restored: what followed the backup is gone from it, and the caller begins anew."`
		Follow bool  `query:"follow" doc:"Go on with new records as they are committed, until the caller leaves or may read the log no more. A member may do so ten times at once."`
	}
	replayed struct { // as Streamed is
		Epoch int `header:"Kluis-Epoch" doc:"The epoch of the log: another after each restore from a backup. Send it back, as epoch, when you go on from a position."`
		Body  func(huma.Context)
	}
	recordsShown struct {
		Shown
		Body page[recordBody]
	}
)

func audit(a *api) {
	register(a, operation{Method: "GET", Path: "/api/audit/events", ID: "list-audit-events", Tag: "audit", Status: http.StatusOK,
		Summary: "List the records of the log, the newest first", Access: needs(domain.ReadAudit)}, a.listRecords)
	register(a, operation{Method: "GET", Path: "/api/audit/replay", ID: "replay-audit-log", Tag: "audit", Status: http.StatusOK,
		Summary: "Replay the log, one record a line, the oldest first", Access: needs(domain.ReadAudit),
		Description: "With `follow=true` the headers come at once, with `X-Accel-Buffering: no`, and a blank line after 15 s without a record: " +
			"no proxy between takes the answer for a dead one or holds it back. Pass over blank lines. Whoever is cut off goes on from the position after the last record.",
		Produces: "application/x-ndjson", Lines: reflect.TypeFor[recordBody]()}, a.replay)
}

func (a *api) listRecords(ctx context.Context, by projections.Actor, in *auditList) (*recordsShown, error) {
	records, mark, err := a.Views.ListRecords(ctx, by, projections.Filter{
		Actor: in.Actor.Value, Type: in.Type, Stream: in.Stream, From: in.From.Value, To: in.To.Value, Before: in.Cursor.After,
	}, in.Limit)
	if err != nil {
		return nil, err
	}
	bodies, err := a.showRecords(ctx, by, records)
	return &recordsShown{seen(mark, 0), paged(bodies, in.Listing, func(r recordBody) int64 { return r.Position })}, err
}

// showRecords opens where the requests came from. The rest of a record is shown as it was written.
func (a *api) showRecords(ctx context.Context, by projections.Actor, records []projections.Record) ([]recordBody, error) {
	origins, err := a.Commands.OpenOrigins(ctx, by.Workspace, records)
	if err != nil {
		return nil, err
	}
	bodies := make([]recordBody, len(records))
	for i, r := range records {
		bodies[i] = recordBody{Position: r.Position, ID: r.ID, Stream: r.Stream, Version: r.Version, Type: r.Type, At: r.At.UTC(),
			Actor: r.Actor, Meta: showOrigin(origins[i]), Data: r.Data}
	}
	return bodies, nil
}

func showOrigin(o commands.Origin) *metaBody {
	if o == (commands.Origin{}) {
		return nil
	}
	m := &metaBody{UserAgent: o.UserAgent}
	if o.IP.IsValid() {
		m.IP = o.IP.String()
	}
	return m
}

// Schema is huma.SchemaProvider: huma has no objects that may be null.
func (metaBody) Schema(huma.Registry) *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString}
	s := &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{"ip": text, "user_agent": text}}
	s.PrecomputeMessages()
	return s
}

func (a *api) replay(ctx context.Context, by projections.Actor, in *auditReplay) (*replayed, error) {
	epoch, err := a.Views.Epoch(ctx, by.Workspace)
	if err != nil {
		return nil, err
	}
	if in.Epoch != 0 && in.Epoch != epoch {
		return nil, domain.Refuse(domain.Conflict, "log_restored", "the log was restored from a backup, and is in epoch %d: what you have of epoch %d may not be in it, so read it from the first position", epoch, in.Epoch)
	}
	if in.Follow {
		if err := a.followers.add(ctx, by.Member); err != nil {
			return nil, err
		}
	}
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
		return a.Views.Replay(ctx, by, in.From, in.Follow, write, flush)
	})}, nil
}
