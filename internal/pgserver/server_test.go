package pgserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestStartFromNothing(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	dir := filepath.Join(openTempFolder(t), "a", "pg")
	s := start(t, dir, Options{Settings: map[string]string{"shared_buffers": "16MB"}}) // with fsync, as in service
	for setting, want := range map[string]string{
		"fsync": "on", "listen_addresses": "", "server_encoding": "UTF8", "timezone": "UTC", "data_checksums": "on",
		"max_locks_per_transaction": "256", "max_connections": "100", "shared_buffers": "16MB", "log_min_error_statement": "panic",
	} {
		if got := ask[string](t, s.SuperuserURL("postgres"), `select current_setting($1)`, setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if got := ask[string](t, s.SuperuserURL("postgres"), `select lower('ÄÉ') collate "default" || upper('ß ñ')`); !strings.HasPrefix(got, "äé") {
		t.Errorf("case of letters outside ASCII: %q", got)
	}
	for name, mode := range map[string]os.FileMode{"passwords": 0o600, "log": 0o600, "cluster": 0o700, "socket": 0o700} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), mode)
		}
	}
	pid := pidOf(t, dir)
	stop(t, s)
	if running(pid) {
		t.Errorf("process %d still runs after Stop", pid)
	}
	stop(t, s) // again: nothing
	goleak.VerifyNone(t, leaks)
}

func TestDataSurvivesAndASecondStartIsQuick(t *testing.T) {
	dir := copied(t)
	s := start(t, dir, Options{})
	exec1(t, s.SuperuserURL("postgres"), `create table kept as select 42 as n`)
	url := s.URL("postgres")
	stop(t, s)
	s = start(t, dir, Options{})
	if got := ask[int](t, s.SuperuserURL("postgres"), `select n from kept`); got != 42 {
		t.Errorf("got %d", got)
	}
	if s.URL("postgres") != url {
		t.Errorf("the URL changed with a restart: %s, then %s", url, s.URL("postgres"))
	}
}

func TestTwoStartsAtOnce(t *testing.T) {
	dir := filepath.Join(openTempFolder(t), "pg")
	var both [2]*Server
	var wg sync.WaitGroup
	for i := range both {
		wg.Go(func() {
			s, err := tryStart(t, dir, Options{})
			if err != nil {
				t.Error(err)
			}
			both[i] = s
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	started := func(s *Server) time.Time {
		return ask[time.Time](t, s.SuperuserURL("postgres"), `select pg_postmaster_start_time()`)
	}
	before := started(both[0])
	if !before.Equal(started(both[1])) {
		t.Error("they are not on one server")
	}
	stop(t, both[0])
	if !before.Equal(started(both[1])) {
		t.Error("the server of the one was stopped by the other")
	}
	pid := pidOf(t, dir)
	stop(t, both[1])
	if running(pid) {
		t.Error("the last one left it running")
	}
}

// The one that started it goes first, and it is another process: the server stays, and ends with the last user.
func TestStarterLeavesFirst(t *testing.T) {
	dir := copied(t)
	starter := otherProcess(t, dir, "")
	url := starter.ready(t)
	s := start(t, dir, Options{})
	if s.child != 0 {
		t.Error("started a second server")
	}
	if err := starter.end(); err != nil {
		t.Fatal(err)
	}
	if got := ask[int](t, url, `select 1`); got != 1 {
		t.Error(got)
	}
	pid := pidOf(t, dir)
	stop(t, s)
	if running(pid) {
		t.Error("nobody stopped it")
	}
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(openTempFolder(t), strings.Repeat("l", 100), strings.Repeat("o", 100))
	s := start(t, dir, Options{})
	info, err := os.Stat(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 || ownerOf(info) != s.account.uid || strings.HasPrefix(s.socket, dir) {
		t.Errorf("%s: %v, owner %d", s.socket, info.Mode(), ownerOf(info))
	}
	if got := ask[int](t, s.SuperuserURL("postgres"), `select 1`); got != 1 {
		t.Error(got)
	}
	stop(t, s)
	if _, err := os.Stat(s.socket); err == nil {
		t.Errorf("%s is left behind", s.socket)
	}
}

func TestSocketFolderOfSomebodyElse(t *testing.T) {
	dir := copied(t)
	open := filepath.Join(dir, "socket")
	if err := errors.Join(os.MkdirAll(open, 0o777), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := tryStart(t, dir, Options{}); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("an open socket folder was used: %v", err)
	}
}
