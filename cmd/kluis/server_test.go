package main

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/toolbox"
)

// server is a running `kluis serve`.
type server struct {
	*home
	cmd   *exec.Cmd
	url   string
	log   *safeBuffer
	ended chan struct{} // closed when the process is gone
}

// serve starts a server and waits until it is ready.
func (h *home) serve(t testing.TB, flags ...string) *server {
	t.Helper()
	s := h.start(t, flags...)
	s.ready(t)
	return s
}

func (h *home) start(t testing.TB, flags ...string) *server {
	t.Helper()
	return h.startAt(t, toolbox.FreeAddress(t), flags...)
}

func (h *home) startAt(t testing.TB, listen string, flags ...string) *server {
	t.Helper()
	s := &server{home: h, url: "http://" + listen, log: &safeBuffer{}, ended: make(chan struct{})}
	s.cmd = h.command(context.Background(), append([]string{"serve", "--listen", listen}, flags...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // the state is in the command
		close(s.ended)
	}()
	t.Cleanup(func() { s.kill(); s.saysFailed(t) })
	return s
}

// saysFailed logs the log of a server when its test has failed.
func (s *server) saysFailed(t testing.TB) {
	if t.Failed() {
		lines := strings.Split(s.log.String(), "\n")
		t.Logf("the log of %s ends with:\n%s", s.url, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}

func (s *server) ready(t testing.TB) {
	t.Helper()
	until(t, "the server is ready", func() bool {
		select {
		case <-s.ended:
			t.Fatalf("it ended with %d:\n%s", s.cmd.ProcessState.ExitCode(), s.log)
		default:
		}
		return isReady(s.url)
	})
}

// isReady tells whether the server at a URL says that it is ready.
func isReady(url string) bool {
	quick := &http.Client{Timeout: 2500 * time.Millisecond}
	response, err := quick.Get(url + "/readyz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

// kill is kill -9.
func (s *server) kill() {
	s.signal(syscall.SIGKILL)
	<-s.ended
}

// stop sends SIGTERM, and gives the exit status.
func (s *server) stop(t testing.TB) int {
	t.Helper()
	s.signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatalf("%s after SIGTERM it runs still:\n%s", patience, s.log)
	}
	return s.cmd.ProcessState.ExitCode()
}
