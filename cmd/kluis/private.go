package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kluis-eu/kluis/internal/pgserver"
)

// private is what this process holds of private Postgres servers. They are processes of their own, so whatever way the
// program ends by, they have to be given up first.
var private holds

type holds struct {
	mu      sync.Mutex // held while a server starts: whoever gives up waits until there is something to give up
	servers []*pgserver.Server
}

// start starts the server in a folder and makes the database in it. When it fails, nothing runs.
func (h *holds) start(ctx context.Context, folder string, log *slog.Logger) (*pgserver.Server, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server, err := pgserver.Start(ctx, folder, pgserver.Options{Log: log})
	if err != nil {
		return nil, fmt.Errorf("%w (or set KLUIS_DATABASE_URL)", err)
	}
	h.servers = append(h.servers, server)
	return server, server.CreateDatabase(ctx, "kluis")
}

// giveUp stops the servers unless other processes use them. Those that were stopped before stay so.
func (h *holds) giveUp(patience time.Duration) (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, server := range h.servers {
		err = errors.Join(err, server.Stop(ctx))
	}
	return err
}
