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

// pidfile is the content of postmaster.pid: line 1 has the process id, line 5 the folder of the socket, line 8 the state.
type pidfile struct {
	pid    int
	socket string
	ready  bool
}

// readPidfile reads postmaster.pid. The error is fs.ErrNotExist when there is none. A file that a crash has cut off gives process 0.
func readPidfile(cluster string) (pidfile, error) {
	content, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	if err != nil {
		return pidfile{}, err
	}
	lines := append(strings.Split(string(content), "\n"), make([]string, 8)...)
	pid, _ := strconv.Atoi(strings.TrimSpace(lines[0]))
	return pidfile{pid: pid, socket: lines[4], ready: strings.TrimSpace(lines[7]) == "ready"}, nil
}

// mayBeServer tells whether a process that postmaster.pid names may be a Postgres of this cluster. It is true as well when that cannot be
// known. After a crash or a reboot, another program may have the process id.
func mayBeServer(pid int, cluster string) bool {
	if pid <= 1 || syscall.Kill(pid, 0) != nil { // kill(2) takes 0 and -1 for many processes; and a process that must not be signalled is not the account's
		return false
	}
	command := commandLine(pid) // empty for a process that has ended, and whose parent has not waited for it yet
	program, _, _ := strings.Cut(command, " ")
	name := filepath.Base(program)
	if !strings.HasPrefix(name, "postgres") && !strings.HasPrefix(name, "postmaster") {
		return false
	}
	// Postgres works in its data directory. A container may forbid to look there (it takes CAP_SYS_PTRACE), and macOS has no such file.
	// Then its arguments decide, unless these name a folder that only the process itself can resolve.
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
	if errors.Is(err, fs.ErrNotExist) { // there is no /proc on macOS
		line, _ = exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output() // no line when the process is gone
	}
	return string(bytes.TrimSpace(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
}

// repairPidfile removes a postmaster.pid whose server is gone. Postgres would not start with it when any process has that id. The caller
// holds alive, so no server runs that kluis has started.
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
	s.log.Warn("removing a stale postmaster.pid", "pid", p.pid)
	return os.Remove(path)
}
