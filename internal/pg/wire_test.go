package pg_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// wire stands between a pool and Postgres: it counts round trips, and can be cut.
type wire struct {
	url     string
	trips   atomic.Int64 // Sync and Query messages: each asks for a ReadyForQuery, which the client waits for
	prepare atomic.Int64 // Parse messages with a name

	mu    sync.Mutex
	conns []net.Conn
	// When it returns true for a message of the client, both ends are cut before (or, after a Sync, behind) it.
	cutBefore func(kind byte, body []byte) bool
}

func newWire(t testing.TB, address string) *wire {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	network, target := "tcp", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	if filepath.IsAbs(config.Host) {
		network, target = "unix", filepath.Join(config.Host, ".s.PGSQL."+strconv.Itoa(int(config.Port)))
	}
	dir := pgtest.TempDir(t)
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{}
	t.Cleanup(func() { listener.Close(); w.cut() })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.RawQuery = "", url.Values{"host": {dir}, "port": {"5432"}}.Encode()
	w.url = u.String()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, target)
			if err != nil {
				client.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, client, server)
			w.mu.Unlock()
			go func() { _, _ = io.Copy(client, server); client.Close() }()
			go func() { w.forward(server, client); server.Close() }()
		}
	}()
	return w
}

// cut breaks all connections off.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func (w *wire) forward(server io.Writer, client io.Reader) {
	startup := make([]byte, 4)
	if _, err := io.ReadFull(client, startup); err != nil {
		return
	}
	rest := make([]byte, binary.BigEndian.Uint32(startup)-4)
	if _, err := io.ReadFull(client, rest); err != nil {
		return
	}
	_, _ = server.Write(append(startup, rest...))
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(client, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return
		}
		w.mu.Lock()
		cut := w.cutBefore != nil && w.cutBefore(head[0], body)
		w.mu.Unlock()
		if cut {
			w.cut()
			return
		}
		switch {
		case head[0] == 'S' || head[0] == 'Q':
			w.trips.Add(1)
		case head[0] == 'P' && body[0] != 0:
			w.prepare.Add(1)
		}
		if _, err := server.Write(append(head, body...)); err != nil {
			return
		}
	}
}
