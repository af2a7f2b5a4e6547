// Package panics has a panic end the work that it is about, and not the process: in Go, a panic in a goroutine that nobody recovers ends
// everything that the process does, for every workspace. Requests are recovered by package http; all else that runs in a goroutine of its own and
// looks at what people sent goes through Caught.
package panics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// Error is a panic.
type Error struct {
	Value any
	Stack []byte // of the goroutine, as package debug gives it
}

func (e *Error) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Caught gives work whose panic is its error, an *Error.
func Caught(work func() error) func() error {
	return func() (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = &Error{v, debug.Stack()}
			}
		}()
		return work()
	}
}

// Logged runs work that has no error, and logs its panic.
func Logged(ctx context.Context, log *slog.Logger, work func()) {
	if err := Caught(func() error { work(); return nil })(); err != nil {
		log.ErrorContext(ctx, "work ended in a panic", "error", err.Error())
	}
}

// Restarted gives work that begins again after a pause when it panicked, until ctx ends: for what a process does all its life.
func Restarted(ctx context.Context, log *slog.Logger, pause time.Duration, work func(context.Context) error) func() error {
	return func() error {
		for {
			err := Caught(func() error { return work(ctx) })()
			if _, panicked := errors.AsType[*Error](err); !panicked {
				return err
			}
			log.ErrorContext(ctx, "work ended in a panic, and begins again", "again_in", pause.String(), "error", err.Error())
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
		}
	}
}
