package pgtest

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// memory is a file system of Linux that has no disk. Postgres makes hundreds of files for each workspace, which a disk's file system makes an index and a
// journal of.
const memory = "/dev/shm"

// scratch is where the files of servers are: in memory where there is room, unless TMPDIR or KLUIS_TEST_FSYNC says where.
func scratch() string {
	if os.Getenv("TMPDIR") != "" || fsync() {
		return os.TempDir()
	}
	var disk syscall.Statfs_t
	const room = 6 << 30 // bytes: `make test` takes less than two of these at any time
	if err := syscall.Statfs(memory, &disk); err != nil || disk.Bavail*uint64(disk.Bsize) < room || available() < room {
		return os.TempDir()
	}
	return memory
}

// available is the memory that programs can still get, in bytes; 0 where the kernel does not say.
func available() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	kB, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseUint(kB, 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// TempDir is a folder for the files of a server, which is deleted when the test ends. Other users may enter it, since root's Postgres is one, and its path is
// short enough for a socket, as that of t.TempDir is not.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch(), "kluis-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // for root's Postgres
		t.Fatal(err)
	}
	return dir
}
