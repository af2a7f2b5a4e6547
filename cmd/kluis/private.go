package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kluis-eu/kluis/internal/pgserver"
)

// private is the hold of this process on the private Postgres. Postgres is a process of its own, so whatever way the
// program ends by, the hold has to be given up first.
var private holder

type holder struct {
	mu     sync.Mutex // held while the server starts: whoever gives up waits until there is something to give up
	server *pgserver.Server
}

// start starts the server and makes the database in it. When it fails, nothing is held.
func (h *holder) start(ctx context.Context, folder string, log *slog.Logger) (url string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server, err := pgserver.Start(ctx, folder, pgserver.Options{Log: log})
	if err != nil {
		return "", fmt.Errorf("%w (or set KLUIS_DATABASE_URL)", err)
	}
	h.server = server
	return server.URL("kluis"), server.CreateDatabase(ctx, "kluis")
}

// giveUp stops the server unless other processes use it, and may be called again.
func (h *holder) giveUp(patience time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := h.server.Stop(ctx)
	h.server = nil
	return err
}
