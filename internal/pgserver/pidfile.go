package pgserver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// pidfile is what postmaster.pid says: line 1 the process id, line 5 the folder of the socket, line 8 the state.
type pidfile struct {
	pid    int
	socket string
	ready  bool
}

// readPidfile reads it; fs.ErrNotExist when there is none. One that a crash cut off gives process 0.
func readPidfile(cluster string) (pidfile, error) {
	content, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	if err != nil {
		return pidfile{}, err
	}
	lines := append(strings.Split(string(content), "\n"), make([]string, 8)...)
	pid, _ := strconv.Atoi(strings.TrimSpace(lines[0]))
	return pidfile{pid: pid, socket: lines[4], ready: strings.TrimSpace(lines[7]) == "ready"}, nil
}

// mayBeServer tells whether a process that postmaster.pid names may be a Postgres of this cluster: it is one, or that
// cannot be known. After a crash or a reboot the id may be anybody's.
func mayBeServer(pid int, cluster string) bool {
	if pid <= 1 || syscall.Kill(pid, 0) != nil { // 0 and -1 are no processes to kill(2); and one that we may not signal is not of the cluster's account
		return false
	}
	command := commandLine(pid) // empty for one that has ended while its parent has not looked yet
	program, _, _ := strings.Cut(command, " ")
	name := filepath.Base(program)
	if !strings.HasPrefix(name, "postgres") && !strings.HasPrefix(name, "postmaster") {
		return false
	}
	// Postgres stands in its data directory. A container may forbid to look (it takes CAP_SYS_PTRACE), and macOS has
	// no such file: then go by what it was started with, unless that says nothing outside the process itself.
	at, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		_, given, _ := strings.Cut(command, " -D ")
		given, _, _ = strings.Cut(given, " -")
		if !filepath.IsAbs(given) || strings.HasPrefix(given, "/proc/") {
			return true
		}
		if at, err = os.Stat(given); err != nil {
			return true
		}
	}
	here, err := os.Stat(cluster)
	return err == nil && os.SameFile(at, here)
}

// commandLine is the program of a process and its arguments, separated by spaces.
func commandLine(pid int) string {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if errors.Is(err, fs.ErrNotExist) { // no such file system: macOS
		line, _ = exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output() // a process that is gone has no line
	}
	return string(bytes.TrimSpace(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
}

// repairPidfile takes away a postmaster.pid that nobody stands behind, over which Postgres would not start: it only
// looks whether there is a process of that id. The caller holds alive: no server that we started runs.
func (s *Server) repairPidfile() error {
	cluster := s.folder.cluster()
	path := filepath.Join(cluster, "postmaster.pid")
	p, err := readPidfile(cluster)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if mayBeServer(p.pid, cluster) {
		return fmt.Errorf("%s names process %d, a Postgres that Kluis did not start: stop it first", path, p.pid)
	}
	s.log.Warn("taking away a stale postmaster.pid", "pid", p.pid)
	return os.Remove(path)
}
