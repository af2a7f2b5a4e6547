package pgserver

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// startWatch starts a goroutine that starts the server again when it ends by itself while this process uses it, as when it is killed for want of
// memory. The address of the server stays the same, so connection pools recover. The goroutine ends with Stop.
func (s *Server) startWatch() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.watch(ctx)
	}()
	s.endWatch = func() {
		cancel()
		<-done
	}
}

func (s *Server) watch(ctx context.Context) {
	const often, seldom = 500 * time.Millisecond, 30 * time.Second
	for wait := often; pause(ctx, wait) == nil; {
		ended, status := s.reap()
		if held, err := s.alive.held(); held && err == nil {
			wait = often
			continue
		}
		s.log.ErrorContext(ctx, "Postgres has ended by itself; starting it again", "ended", ended, "status", status)
		if err := s.restart(ctx); err != nil && ctx.Err() == nil {
			wait = min(2*wait, seldom)
			s.log.ErrorContext(ctx, "Postgres could not be started again", "error", err, "next_attempt_in", wait.String())
		}
	}
}

// restart is the second half of Start, under the same lock. Of several users one starts the server, and the others find it.
func (s *Server) restart(ctx context.Context) error {
	if err := s.transition.wait(ctx, syscall.LOCK_EX); err != nil {
		return err
	}
	defer s.transition.release()
	socket, err := s.ensureRunning(ctx)
	if err == nil && socket != s.socket {
		err = fmt.Errorf("the server is at %s now and was at %s: restart whatever has the old address", socket, s.socket)
	}
	return err
}
