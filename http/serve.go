package http

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
)

const (
	headerTimeout = 10 * time.Second  // to send the headers
	readTimeout   = 30 * time.Second  // to send a request; body.go gives operations that take files more
	writeTimeout  = 120 * time.Second // to take an answer; stream.go renews it with every write
	idleTimeout   = 120 * time.Second // between two requests of a connection
	defaultGrace  = 20 * time.Second  // for what is in flight at the end
	maxHeader     = 32 << 10          // bytes of request line and headers
)

// Serve answers the requests of l until ctx is done. Then it takes no new ones, ends streams, lets what is
// in flight finish, and returns nil. A request that has not finished after Options.Grace is cut off, and is the error.
// A Server serves once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return serveUntil(ctx, l, s.handler, s.api.Options, s.api.stop)
}

func serveUntil(ctx context.Context, l net.Listener, handler http.Handler, o Options, stop func()) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(connectionLog{o.Log}, "", 0),
		// requests outlive ctx: they end by themselves, or with the grace
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		stop()
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(o.Grace, defaultGrace))
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close() // what is open is cut off; that it was is in the error below
		return fmt.Errorf("requests still in flight after %s: %w", cmp.Or(o.Grace, defaultGrace), err)
	}
	return nil
}

// connectionLog takes what net/http says of broken connections, without the addresses: they are personal data.
type connectionLog struct{ log *slog.Logger }

var address = regexp.MustCompile(`\[?[0-9a-fA-F:.%]*[:.][0-9a-fA-F:.%]*\]?:\d+`)

func (l connectionLog) Write(line []byte) (int, error) {
	text := address.ReplaceAllString(strings.TrimSpace(string(line)), "(address)")
	l.log.Warn("connection", "error", text)
	return len(line), nil
}
