package delivery

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

// ndjson sends many events a request, each a line: all of them are taken, or none.
type ndjson struct {
	target   Target
	patience time.Duration
	client   *http.Client
}

func (n *ndjson) Send(ctx context.Context, events []Event) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, n.patience)
	defer cancel()
	var body bytes.Buffer
	for _, e := range events {
		body.Write(e.Line)
		body.WriteByte('\n')
	}
	headers := map[string]string{"Idempotency-Key": events[0].ID + "-" + events[len(events)-1].ID}
	if n.target.Credentials != "" {
		headers["Authorization"] = n.target.Credentials
	}
	if err := post(ctx, n.client, n.target, "application/x-ndjson", body.Bytes(), headers); err != nil {
		return 0, err
	}
	return len(events), nil
}

func (n *ndjson) Close() { n.client.CloseIdleConnections() }
