package pgtest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// CPU is the processor time so far of this process, and of the Postgres processes that serve a database now: what a
// neighbour on the machine disturbs least. What finding that out takes is not in it. It is for benchmarks, on Linux; elsewhere the second is 0.
func CPU(t testing.TB, url string) (ours, postgres time.Duration) {
	t.Helper()
	begun := self(t)
	defer func() { looking += self(t) - begun }()
	for _, process := range backends(t, url) {
		postgres += onCPU(process)
	}
	return begun - looking, postgres
}

// looking is what all calls of CPU took, which come one after the other.
var looking time.Duration

func self(t testing.TB) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// onCPU is the processor time of a process of one thread; 0 when it is gone.
func onCPU(process string) time.Duration {
	text, err := os.ReadFile(filepath.Join(process, "schedstat")) // nanoseconds on the processor, and others
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	nanos, _ := strconv.ParseInt(first, 10, 64) // the kernel's
	return time.Duration(nanos)
}

// Memory is that of the Postgres processes that serve a database now, in bytes: what each has for itself, and its part of what several have (PSS). It
// is for benchmarks, on Linux; elsewhere it is 0.
func Memory(t testing.TB, url string) (bytes int64) {
	t.Helper()
	for _, process := range backends(t, url) {
		bytes += Resident(process)
	}
	return bytes
}

// Resident is the memory of a process, given by its folder in /proc, in bytes; 0 when it is gone.
func Resident(process string) int64 {
	text, err := os.ReadFile(filepath.Join(process, "smaps_rollup"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
			kilobytes, _ := strconv.ParseInt(fields[1], 10, 64) // the kernel's
			return kilobytes << 10
		}
	}
	return 0
}

// backends are the processes of Postgres that serve a database, as folders in /proc.
func backends(t testing.TB, url string) (folders []string) {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, name := range processes {
		title, err := os.ReadFile(name)
		if err == nil && bytes.HasPrefix(title, []byte("postgres: ")) && bytes.Contains(title, []byte(" "+config.Database+" ")) {
			folders = append(folders, filepath.Dir(name))
		}
	}
	return folders
}
