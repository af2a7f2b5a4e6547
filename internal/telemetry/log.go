package telemetry

import (
	"context"
	"log/slog"
)

// UntilEnd returns a log for a library that takes the end of a process for an error. Once ended returns true, errors and warnings of the library are
// logged at the level Debug: what is broken off at the end is rolled back, and another process does it.
func UntilEnd(log *slog.Logger, ended func() bool) *slog.Logger {
	return slog.New(untilEnd{log.Handler(), ended})
}

type untilEnd struct {
	slog.Handler
	ended func() bool
}

func (l untilEnd) Handle(ctx context.Context, r slog.Record) error {
	if r.Level > slog.LevelInfo && l.ended() {
		r.Level = slog.LevelDebug
	}
	if !l.Enabled(ctx, r.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

func (l untilEnd) WithAttrs(attrs []slog.Attr) slog.Handler {
	return untilEnd{l.Handler.WithAttrs(attrs), l.ended}
}

func (l untilEnd) WithGroup(name string) slog.Handler {
	return untilEnd{l.Handler.WithGroup(name), l.ended}
}
