package http

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
)

// streamTimeout is how long a caller may take to accept one write of a stream.
const streamTimeout = 30 * time.Second

// Streamed is the output of an operation that writes its answer as it comes, in constant memory. The
// operation's declaration names the media type (Produces).
type Streamed struct {
	Body func(huma.Context)
}

// streamed is a Body that is what write writes. write ends when its ctx does, which is when the caller left or
// the server stops; a stop ends the answer well, so that the caller can go on from its last line elsewhere.
// After any other error the connection is cut, so that nobody takes half an answer for a whole one.
func (a *api) streamed(write func(ctx context.Context, w *stream) error) func(huma.Context) {
	return func(hc huma.Context) {
		if media, _ := hc.Operation().Metadata[producesKey].(string); media != "" {
			hc.SetHeader("Content-Type", media)
		}
		ctx, cancel := context.WithCancel(hc.Context())
		defer cancel()
		unwatch := context.AfterFunc(a.stopping, cancel)
		defer unwatch()
		hc.SetStatus(hc.Operation().DefaultStatus)
		response := humaecho.UnwrapV4(hc).Response()
		err := write(ctx, &stream{to: response, control: http.NewResponseController(response)})
		if err == nil || (errors.Is(err, context.Canceled) && a.stopping.Err() != nil) {
			return
		}
		if hc.Context().Err() == nil {
			x := exchangeOf(hc.Context())
			x.log.ErrorContext(ctx, "stream broke off", "request_id", x.id, "error", err.Error())
		}
		panic(http.ErrAbortHandler)
	}
}

// stream is an answer that is being written. Its writes give up on a caller who does not read.
type stream struct {
	to      http.ResponseWriter
	control *http.ResponseController
}

// Write is io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(streamTimeout)) // there is none to set in a test without a connection
	return s.to.Write(p)
}

// Flush sends what was written so far.
func (s *stream) Flush() error { return s.control.Flush() }
