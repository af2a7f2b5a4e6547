package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// What a library calls an error before the end is one in the log; behind the end it is not.
func TestUntilEnd(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	ended := false
	log := UntilEnd(slog.New(slog.NewTextHandler(&said, nil)), func() bool { return ended }).With("client", 1).WithGroup("library")
	log.Error("at work")
	ended = true
	log.Error("at the end")
	log.Info("stopped")
	for text, want := range map[string]bool{"at work": true, "at the end": false, "stopped": true} {
		if strings.Contains(said.String(), text) != want {
			t.Errorf("%q: %s", text, &said)
		}
	}
}
