package pgserver

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// shutdown stops the server, if one runs, and returns when all its processes have ended. The caller holds the transition, and is the only user.
func (s *Server) shutdown(ctx context.Context) error {
	err := s.signal(ctx, syscall.SIGINT) // "fast": clients are disconnected, and a checkpoint is written
	if ctx.Err() != nil {
		late, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), 10*time.Second, fmt.Errorf("gave up 10s after %w", context.Cause(ctx)))
		defer cancel()
		s.log.WarnContext(ctx, "Postgres takes too long to stop: stopping it without a checkpoint")
		err = s.signal(late, syscall.SIGQUIT) // "immediate": no checkpoint, as after a crash
	}
	if err != nil {
		return err
	}
	s.dropSocket()
	return nil
}

// signal sends a signal to the postmaster, and waits until nothing of the server runs. The postmaster may have no pid file yet, or it may
// have died, and its backends have yet to end.
func (s *Server) signal(ctx context.Context, sig syscall.Signal) error {
	for sent := false; ; {
		s.reap()
		if held, err := s.alive.held(); err != nil || !held {
			return err
		}
		if pid := s.postmaster(); pid != 0 && !sent {
			if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("signal process %d, the Postgres in %s: %w", pid, s.folder, err)
			}
			sent = true
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("the Postgres in %s is still running: %w", s.folder, err)
		}
	}
}

// postmaster is the process to signal; 0 when there is none. It is enough that the process of the pid file is a Postgres: somebody holds
// alive, so the file is not left over from a server of long ago.
func (s *Server) postmaster() int {
	if s.child != 0 {
		return s.child
	}
	p, err := readPidfile(s.folder.cluster())
	if err != nil || !mayBeServer(p.pid, s.folder.cluster()) {
		return 0
	}
	return p.pid
}

// reap waits for the child if it has ended (waitpid(2)), and tells how it ended.
func (s *Server) reap() (ended bool, status string) {
	if s.child == 0 {
		return false, ""
	}
	var how syscall.WaitStatus
	pid, err := syscall.Wait4(s.child, &how, syscall.WNOHANG, nil)
	if pid == 0 && err == nil || errors.Is(err, syscall.EINTR) {
		return false, ""
	}
	s.child = 0
	if how.Signaled() {
		return true, "signal: " + how.Signal().String()
	}
	return true, fmt.Sprintf("exit status %d", how.ExitStatus())
}
