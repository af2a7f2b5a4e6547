package jobs

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
)

// What River calls an error before the end is one in the log; behind the end it is not.
func TestErrorsBehindTheEnd(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	life := &atomic.Value{}
	log := slog.New(untilEnd{slog.NewTextHandler(&said, nil), life}).With("client", 1).WithGroup("river")
	ctx, end := context.WithCancel(t.Context())
	log.Error("before it began")
	life.Store(lifetime{ctx})
	log.Error("at work")
	end()
	log.Error("at the end")
	log.Info("stopped")
	for text, want := range map[string]bool{"before it began": true, "at work": true, "at the end": false, "stopped": true} {
		if strings.Contains(said.String(), text) != want {
			t.Errorf("%q: %s", text, &said)
		}
	}
}
