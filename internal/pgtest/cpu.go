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
// neighbour on the machine disturbs least. It is for benchmarks, on Linux; elsewhere the second is 0.
func CPU(t testing.TB, url string) (ours, postgres time.Duration) {
	t.Helper()
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err != nil {
		t.Fatal(err)
	}
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
	return time.Duration(self.Utime.Nano() + self.Stime.Nano()), postgres
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
