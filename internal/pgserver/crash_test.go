package pgserver

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a killed process left behind is stopped, and data that was committed on it is there. The address stays, as it is in
// the hands of others.
func TestLeftBehindIsReplaced(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	killed := otherProcess(t, dir, "")
	url := killed.ready(t)
	exec1(t, url, `create table kept as select 42 as n`)
	pid := pidOf(t, dir)
	killed.kill(t)
	s := start(t, dir, Options{})
	if running(pid) || pidOf(t, dir) == pid || s.child == 0 {
		t.Errorf("server %d goes on", pid)
	}
	if s.SuperuserURL("postgres") != url {
		t.Error("the address changed")
	}
	if got := ask[int](t, s.SuperuserURL("postgres"), `select n from kept`); got != 42 {
		t.Error(got)
	}
}

func TestKilledPostmasterThenStart(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	s := start(t, dir, Options{Unwatched: true})
	exec1(t, s.SuperuserURL("postgres"), `create table kept as select 42 as n`)
	connect(t, s.SuperuserURL("postgres")) // a backend that outlives the postmaster for a moment
	if err := syscall.Kill(pidOf(t, dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir, Options{})
	if got := ask[int](t, again.SuperuserURL("postgres"), `select n from kept`); got != 42 {
		t.Error(got)
	}
	if s.URL("x") != again.URL("x") {
		t.Error("the address changed")
	}
	stop(t, s)
	if got := ask[int](t, again.SuperuserURL("postgres"), `select n from kept`); got != 42 {
		t.Error(got)
	}
}

// Both are killed at once, as by a machine that runs out of memory.
func TestBothKilled(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	killed := otherProcess(t, dir, "")
	exec1(t, killed.ready(t), `create table kept as select 42 as n`)
	pid := pidOf(t, dir)
	killed.kill(t)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, Options{})
	if got := ask[int](t, s.SuperuserURL("postgres"), `select n from kept`); got != 42 {
		t.Error(got)
	}
}

func TestWatchStartsAgain(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	s := start(t, dir, Options{})
	adopter := otherProcess(t, dir, "")
	adopter.ready(t)
	pid := pidOf(t, dir)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another postmaster", func() bool {
		p, err := readPidfile(folder(dir).cluster())
		return err == nil && p.pid != pid && p.ready
	})
	if got := ask[int](t, s.SuperuserURL("postgres"), `select 1`); got != 1 {
		t.Error(got)
	}
}

func TestInterruptOfTheTerminal(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	o := otherProcess(t, dir, "")
	url := o.ready(t)
	if err := syscall.Kill(-o.cmd.Process.Pid, syscall.SIGINT); err != nil { // ^C goes to the process group
		t.Fatal(err)
	}
	_ = o.cmd.Wait() // it says that it was interrupted
	if got := ask[int](t, url, `select 1`); got != 1 {
		t.Error(got)
	}
	start(t, dir, Options{}) // replaces it, to stop that
}

func TestStalePidFileOfAnotherProgram(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	sleeper := exec.Command("sleep", "60")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = sleeper.Process.Kill(), sleeper.Wait() })
	stalePidFile(t, dir, sleeper.Process.Pid)
	s := start(t, dir, Options{})
	if got := ask[int](t, s.SuperuserURL("postgres"), `select 1`); got != 1 {
		t.Error(got)
	}
	stop(t, s)
	if !running(sleeper.Process.Pid) {
		t.Error("the other program was harmed")
	}
}

func TestStalePidFileOfAnotherCluster(t *testing.T) {
	t.Parallel()
	neighbour, dir := copied(t), copied(t)
	n := start(t, neighbour, Options{Unwatched: true})
	stalePidFile(t, dir, pidOf(t, neighbour))
	s := start(t, dir, Options{})
	stop(t, s)
	if got := ask[int](t, n.SuperuserURL("postgres"), `select 1`); got != 1 {
		t.Error(got)
	}
}

func TestCutOffPidFile(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "-1\n", "0\n", "garbage"} {
		dir := copied(t)
		if err := os.WriteFile(filepath.Join(dir, "cluster", "postmaster.pid"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		stop(t, start(t, dir, Options{}))
	}
}

func stalePidFile(t *testing.T, dir string, pid int) {
	t.Helper()
	cluster := filepath.Join(dir, "cluster")
	content := fmt.Sprintf("%d\n%s\n1700000000\n5432\n%s/socket\n\n  1234567     99999\nready   \n", pid, cluster, dir)
	if err := os.WriteFile(filepath.Join(cluster, "postmaster.pid"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A Postgres that somebody started by hand on our files is left alone, and nothing is started beside it.
func TestServerStartedByHand(t *testing.T) {
	t.Parallel()
	dir := copied(t)
	s := start(t, dir, Options{}) // for what it knows
	stop(t, s)
	socket := openTempFolder(t)
	if err := s.account.give(socket); err != nil {
		t.Fatal(err)
	}
	cmd := s.account.command(s.binaries.program("postgres"), "-D", filepath.Join(dir, "cluster"), "-k", socket, "-c", "listen_addresses=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Signal(syscall.SIGINT), cmd.Wait() })
	eventually(t, "the server by hand is ready", func() bool {
		p, err := readPidfile(folder(dir).cluster())
		return err == nil && p.ready
	})
	_, err := tryStart(t, dir, Options{})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("want a refusal that names process %d, got: %v", cmd.Process.Pid, err)
	}
	if !running(cmd.Process.Pid) {
		t.Error("it was stopped")
	}
}

func TestKilledInitdb(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{150 * time.Millisecond, 450 * time.Millisecond} {
		dir := filepath.Join(openTempFolder(t), "pg")
		o := otherProcess(t, dir, "")
		time.Sleep(after) // wherever that is: an initdb takes 0.4 to 3 s here
		o.kill(t)         // and initdb runs on, for now
		s := start(t, dir, Options{})
		if got := ask[int](t, s.SuperuserURL("postgres"), `select 1`); got != 1 {
			t.Error(got)
		}
		if halves, _ := filepath.Glob(filepath.Join(dir, "new-*")); len(halves) > 0 {
			t.Errorf("left behind: %v", halves)
		}
		stop(t, s)
	}
}

// kluis ends, and initdb soon after, with half a cluster written.
func TestHalfACluster(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openTempFolder(t), "pg")
	o := otherProcess(t, dir, scripts(t, "", `echo 15 > "$2/PG_VERSION"; mkdir "$2/base"; sleep 1`))
	eventually(t, "half a cluster", func() bool {
		halves, _ := filepath.Glob(filepath.Join(dir, "new-*/base"))
		return len(halves) == 1
	})
	o.kill(t)
	s := start(t, dir, Options{})
	if got := ask[int](t, s.SuperuserURL("postgres"), `select 1`); got != 1 {
		t.Error(got)
	}
}

// scripts is a folder of programs that stand before the real ones: postgres says another version, initdb does
// something else, where that is not empty.
func scripts(t *testing.T, version, initdb string) string {
	t.Helper()
	real, err := newSearch(account{}, slog.Default(), "", 0, "").find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := openTempFolder(t)
	postgres := "#!/bin/sh\n"
	if version != "" {
		postgres += `test "$1" = --version && echo "postgres (PostgreSQL) ` + version + `" && exit` + "\n"
	}
	postgres += "exec " + real.program("postgres") + ` "$@"` + "\n"
	if initdb == "" {
		initdb = "exec " + real.program("initdb") + ` "$@"`
	}
	for name, text := range map[string]string{"postgres": postgres, "initdb": "#!/bin/sh\n" + initdb + "\n"} {
		writeProgram(t, filepath.Join(dir, name), text)
	}
	return dir
}

// writeProgram lets another process write: a descriptor of ours may be inherited for a moment by what a parallel
// test starts, and a program that somebody has open for writing does not start ("text file busy").
func writeProgram(t *testing.T, path, text string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `mkdir -p "${1%/*}" && cat > "$1" && chmod 755 "$1"`, "sh", path)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
