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
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, name := range processes {
		title, err := os.ReadFile(name)
		if err != nil || !bytes.HasPrefix(title, []byte("postgres: ")) || !bytes.Contains(title, []byte(" "+config.Database+" ")) {
			continue
		}
		postgres += onCPU(filepath.Dir(name))
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
