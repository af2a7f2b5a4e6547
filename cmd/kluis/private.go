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

// private has the private Postgres servers that this process uses. They are processes of their own, so the program gives them up before it ends.
var private privateServers

type privateServers struct {
	mu      sync.Mutex // held while a server starts, so that giveUp waits for it
	servers []*pgserver.Server
}

// start starts the server in a folder, and makes the database in it. When the server does not start, nothing runs.
func (p *privateServers) start(ctx context.Context, folder string, log *slog.Logger) (*pgserver.Server, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	server, err := pgserver.Start(ctx, folder, pgserver.Options{Log: log})
	if err != nil {
		return nil, fmt.Errorf("%w (or set KLUIS_DATABASE_URL)", err)
	}
	p.servers = append(p.servers, server)
	return server, server.CreateDatabase(ctx, "kluis")
}

// giveUp stops the servers that no other process uses. A server that was stopped before stays stopped.
func (p *privateServers) giveUp(patience time.Duration) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, server := range p.servers {
		err = errors.Join(err, server.Stop(ctx))
	}
	return err
}
