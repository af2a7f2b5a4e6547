// Package panics has a panic end the work in which it happens, and not the process. In Go, a panic that no function recovers ends the
// process, and with it the work for every workspace. Package http recovers requests. Other work in a goroutine of its own that reads what
// people sent goes through Caught.
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
	Stack []byte // of the goroutine, as debug.Stack returns it
}

func (e *Error) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Caught returns work as a function whose panics are errors, of type *Error.
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

// Logged runs work that returns no error, and logs a panic.
func Logged(ctx context.Context, log *slog.Logger, work func()) {
	if err := Caught(func() error { work(); return nil })(); err != nil {
		log.ErrorContext(ctx, "work ended in a panic", "error", err.Error())
	}
}

// Restarted returns work that begins again after a pause when it has panicked, until ctx ends. It is for work that lasts as long as the process.
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
