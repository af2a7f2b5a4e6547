package http

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

const (
	heartbeat     = 15 * time.Second // of silence, after which an endless stream sends a blank line: proxies cut off who is silent for 60 s
	streamTimeout = 30 * time.Second // for a caller to accept one write of a stream
	stopTimeout   = 3 * time.Second  // the same, and for a whole stream, once the server stops: it must not wait for who never reads
)

// Streamed is the output of an operation that writes its answer as it comes, in constant memory. The
// operation's declaration names the media type (Produces).
type Streamed struct {
	Body func(huma.Context)
}

// streamed is a Body that is what write writes. write ends when its ctx does, which is when the caller left or
// the server stops. A stop ends an endless answer at once, and well, so that the caller can go on from its last line
// elsewhere: write hands over whole lines. An endless answer begins before there is anything in it, asks proxies not to hold
// it back, and sends a blank line after each breath of silence, for which write flushes every few seconds. Any other answer has stopTimeout to come to its end. After any
// other error the connection is cut, so that nobody takes half an answer for a whole one.
func (a *api) streamed(endless bool, write func(ctx context.Context, w *stream) error) func(huma.Context) {
	return func(hc huma.Context) {
		if media, _ := hc.Operation().Metadata[producesKey].(string); media != "" {
			hc.SetHeader("Content-Type", media)
		}
		if endless {
			hc.SetHeader("X-Accel-Buffering", "no") // nginx and those who do as it does
		}
		hc.SetStatus(hc.Operation().DefaultStatus)
		if exchangeOf(hc.Context()).head { // nothing of it would be sent, and a follower's would never end
			return
		}
		a.flow(hc, endless, write)
	}
}

// flow runs write as streamed has it, behind the headers or before them.
func (a *api) flow(hc huma.Context, endless bool, write func(ctx context.Context, w *stream) error) {
	x := exchangeOf(hc.Context())
	if x.streams = endless; endless {
		telemetry.Streams.Inc()
		defer telemetry.Streams.Dec()
	}
	ctx, cancel := context.WithCancel(hc.Context())
	defer cancel()
	response := humaecho.UnwrapV4(hc).Response()
	// Echo's own response would keep to itself that flushing failed.
	s := &stream{ctx: ctx, stopping: a.stopping, to: response, control: http.NewResponseController(response.Writer), wrote: time.Now()}
	if endless {
		s.heartbeat = a.heartbeat
	}
	unwatch := context.AfterFunc(a.stopping, func() {
		s.renew()
		if !endless {
			sleep(ctx, stopTimeout)
		}
		cancel()
	})
	defer unwatch()
	err := s.begin()
	if err == nil {
		err = write(ctx, s)
	}
	if endless && a.stopping.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err == nil {
		err = s.Flush() // here, where a stop still hurries it
	}
	if err == nil {
		return
	}
	if ctx.Err() == nil {
		level := slog.LevelError
		if _, outage := pg.OutageOf(err); outage {
			level = slog.LevelWarn
		}
		x.log.Log(ctx, level, "stream broke off", "request_id", x.id, "error", err.Error())
	}
	panic(http.ErrAbortHandler)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// stream is an answer that is being written. Its writes give up on a caller who does not read.
type stream struct {
	ctx       context.Context // of the answer: nothing is written after its end
	stopping  context.Context // the server's
	to        http.ResponseWriter
	control   *http.ResponseController
	heartbeat time.Duration // 0 for an answer that comes to its end
	wrote     time.Time
}

// begin sends the headers of an endless answer, so that the caller and those between know that there is one.
func (s *stream) begin() error {
	if s.heartbeat == 0 {
		return nil
	}
	return s.Flush()
}

// Write is io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	s.renew()
	s.wrote = time.Now()
	return s.to.Write(p)
}

// Flush sends what was written so far, or a sign of life when that was long ago.
func (s *stream) Flush() error {
	s.renew()
	if s.heartbeat > 0 && s.ctx.Err() == nil && time.Since(s.wrote) >= s.heartbeat {
		s.wrote = time.Now()
		if _, err := s.to.Write([]byte{'\n'}); err != nil {
			return err
		}
	}
	return s.control.Flush()
}

// renew gives the caller time from now on. A stop that comes while it does so either is seen here, or renews again.
func (s *stream) renew() {
	// errors mean that there is no connection to set it on
	_ = s.control.SetWriteDeadline(time.Now().Add(streamTimeout))
	if s.stopping.Err() != nil {
		_ = s.control.SetWriteDeadline(time.Now().Add(stopTimeout))
	}
}
