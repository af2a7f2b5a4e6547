package toolbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program returns the path of another project's program, by its package and the version of its module.
func Program(t testing.TB, pkg, version string) string {
	t.Helper()
	return once(t, path.Base(pkg)+"-"+version, func(ctx context.Context, bin string) *exec.Cmd {
		install := exec.CommandContext(ctx, "go", "install", pkg+"@"+version)
		install.Dir, install.Env = os.TempDir(), append(os.Environ(), "GOBIN="+bin) // outside of any module
		return install
	})
}

// Own returns the path of a program of this repository that is a module of its own, by its folder. A change of the program needs another
// version, or the old one is used.
func Own(t testing.TB, folder, version string) string {
	t.Helper()
	return once(t, path.Base(folder)+"-"+version, func(ctx context.Context, bin string) *exec.Cmd {
		build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", filepath.Join(bin, path.Base(folder)), ".")
		build.Dir, build.Env = filepath.Join(bin, "..", "..", folder), os.Environ()
		return build
	})
}

// FreeAddress returns an address on loopback on which nobody listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// looked has the programs that this process has looked for, by the name of the file.
var looked sync.Map

func once(t testing.TB, file string, command func(ctx context.Context, bin string) *exec.Cmd) string {
	t.Helper()
	look, _ := looked.LoadOrStore(file, sync.OnceValues(func() (string, error) { return built(file, command) }))
	found, err := look.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// built builds a program, unless another process has built it. It waits for a process that is building it.
func built(name string, command func(ctx context.Context, bin string) *exec.Cmd) (string, error) {
	_, self, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("toolbox does not know where it is")
	}
	bin := filepath.Join(filepath.Dir(self), "..", "..", ".cache", "bin")
	file := filepath.Join(bin, name)
	if err := os.MkdirAll(bin, 0o755); err != nil { //nolint:gosec // as the Makefile makes it
		return "", err
	}
	lock, err := os.OpenFile(file+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	fmt.Fprintf(os.Stderr, "building %s, once, for the tests that need it: a minute or two\n", name)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	build := command(ctx, bin)
	build.Env = append(build.Env, "GOFLAGS=")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, said)
	}
	plain, _, _ := strings.Cut(name, "-v")
	return file, os.Rename(filepath.Join(bin, plain), file)
}
