package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/delivery"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// Outgoing gives records as a receiver gets them: each as the line that a replay serves and the Merkle tree hashes. A receiver that is to get sealed
// fields in clear gets other lines. epoch is the epoch of the log.
func (c *Commands) Outgoing(ctx context.Context, w pg.Workspace, r domain.Receiver, epoch int, records []projections.Record) ([]delivery.Event, error) {
	if r.Opened {
		var err error
		if records, err = c.opened(ctx, w, records); err != nil {
			return nil, err
		}
	}
	events := make([]delivery.Event, len(records))
	for i, record := range records {
		events[i] = delivery.Event{ID: fmt.Sprintf("%s_%d_%d", w.ID, epoch, record.Position), Type: record.Type, At: record.At, Line: record.AppendLine(nil)}
	}
	return events, nil
}

// opened gives records as an admin reads them, with sealed fields in clear.
func (c *Commands) opened(ctx context.Context, w pg.Workspace, records []projections.Record) ([]projections.Record, error) {
	admin, err := c.Projections.Operator(ctx, w)
	if err != nil {
		return nil, err
	}
	audit, err := c.ReadAudit(ctx, *admin, records)
	if err != nil {
		return nil, err
	}
	all := make([]projections.Record, len(records))
	for i, e := range audit.Entries {
		all[i] = e.Record
		all[i].Meta = nil
		from := map[string]string{}
		if e.Origin.IP.IsValid() {
			from["ip"] = e.Origin.IP.String()
		}
		if e.Origin.UserAgent != "" {
			from["user_agent"] = e.Origin.UserAgent
		}
		if e.Origin.Token != uuid.Nil {
			from["token_id"] = e.Origin.Token.String()
		}
		if len(from) > 0 {
			all[i].Meta, _ = json.Marshal(from) // texts cannot fail
		}
	}
	return all, nil
}

// Tried is the outcome of a test of a receiver.
type Tried struct {
	Delivered bool
	Error     string // why it was not delivered, without any path, body or secret
	Took      time.Duration
}

// TestReceiver sends a test message to a receiver. The message is no event of the log: its type is receiver.test, and it has no position. When the
// receiver accepts it, deliveries that wait after a failure are tried at once.
func (c *Commands) TestReceiver(ctx context.Context, by projections.Actor, id uuid.UUID) (Tried, error) {
	if err := allow(by, domain.UpdateReceiver); err != nil {
		return Tried{}, err
	}
	receiver, _, err := projections.Receivers.Get(ctx, c.Projections, by, id)
	if err != nil {
		return Tried{}, err
	}
	now, err := c.now(ctx)
	if err != nil {
		return Tried{}, err
	}
	sender, err := c.OpenReceiver(ctx, by.Workspace, receiver, now)
	if err != nil {
		return Tried{}, err
	}
	defer sender.Close()
	line, err := json.Marshal(map[string]any{"type": "receiver.test", "at": now.UTC(), "data": map[string]any{"receiver_id": id}})
	if err != nil {
		return Tried{}, err
	}
	begun := time.Now()
	_, err = sender.Send(ctx, []delivery.Event{{ID: fmt.Sprintf("%s_test_%s", by.Workspace.ID, uuid.Must(uuid.NewV7())), Type: "receiver.test", At: now, Line: line}})
	tried := Tried{Delivered: err == nil, Took: time.Since(begun)}
	if err != nil {
		tried.Error = delivery.Explain(err)
		return tried, nil
	}
	return tried, c.DB.Control(ctx, func(tx pgx.Tx) error { return eventstore.DueNow(ctx, tx, id) })
}
