package http

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"

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
		Data     json.RawMessage `json:"data" doc:"The event as it was written. Personal data is sealed."`
	}
	auditList struct {
		Listing[int64]
		Actor  uuid.UUID `query:"actor"`
		Type   string    `query:"type" maxLength:"100"`
		Stream string    `query:"stream" maxLength:"100"`
		From   time.Time `query:"from" doc:"Only records at or after this instant."`
		To     time.Time `query:"to" doc:"Only records at or before this instant."`
	}
	auditReplay struct {
		From   int64 `query:"from" minimum:"1" default:"1" doc:"The first position."`
		Follow bool  `query:"follow" doc:"Go on with new records as they are committed."`
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
		Produces: "application/x-ndjson"}, a.replay)
}

func (a *api) listRecords(ctx context.Context, by projections.Actor, in *auditList) (*recordsShown, error) {
	records, mark, err := a.Views.ListRecords(ctx, by, projections.Filter{
		Actor: given(in.Actor), Type: in.Type, Stream: in.Stream, From: instant(in.From), To: instant(in.To), Before: in.Cursor.After,
	}, in.Limit)
	bodies := make([]recordBody, len(records))
	for i, r := range records {
		bodies[i] = recordBody{r.Position, r.ID, r.Stream, r.Version, r.Type, r.At.UTC(), r.Actor, r.Data}
	}
	return &recordsShown{seen(mark, 0), paged(bodies, in.Limit, func(r recordBody) int64 { return r.Position })}, err
}

func (a *api) replay(_ context.Context, by projections.Actor, in *auditReplay) (*Streamed, error) {
	return &Streamed{Body: a.streamed(func(ctx context.Context, w *stream) error {
		lines := bufio.NewWriterSize(w, 1<<16)
		var line []byte
		write := func(r projections.Record) error {
			line = append(r.AppendLine(line[:0]), '\n')
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

// instant is a time that may be absent.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
