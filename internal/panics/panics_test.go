package panics

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// A panic is the error of the work that it ended, with the place where it was.
func TestCaught(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if err := Caught(func() error { return broken })(); err != broken { //nolint:errorlint // the very same
		t.Errorf("%v", err)
	}
	err := Caught(func() error { none, at := []int{}, 1; _ = none[at]; return nil })()
	panicked, is := errors.AsType[*Error](err)
	if !is || !strings.Contains(err.Error(), "index out of range") || !bytes.Contains(panicked.Stack, []byte("TestCaught")) {
		t.Errorf("%v", err)
	}
}

// What panicked is logged, and those behind it go on.
func TestLogged(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	Logged(t.Context(), slog.New(slog.NewTextHandler(&said, nil)), func() { panic("at work") })
	if !strings.Contains(said.String(), "at work") {
		t.Errorf("%s", &said)
	}
}

// Work for life begins again after a panic. An error ends it, and so does the end.
func TestRestarted(t *testing.T) {
	t.Parallel()
	log, broken := slog.New(slog.DiscardHandler), errors.New("broken")
	begun := 0
	err := Restarted(t.Context(), log, 0, func(context.Context) error {
		if begun++; begun < 3 {
			panic("again")
		}
		return broken
	})()
	if begun != 3 || !errors.Is(err, broken) {
		t.Errorf("begun %d times: %v", begun, err)
	}
	ctx, end := context.WithCancel(t.Context())
	if err := Restarted(ctx, log, 1<<40, func(context.Context) error { end(); panic("at the end") })(); err != nil {
		t.Errorf("%v", err)
	}
}
