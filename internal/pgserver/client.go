package pgserver

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Client finds a client program of Postgres, such as pg_dump, of a major version or a newer one. It searches the PATH and the folders of
// distributions, and returns the path of the newest.
func Client(ctx context.Context, name string, major int) (path string, err error) {
	var found []string
	if onPath, err := exec.LookPath(name); err == nil {
		found = append(found, onPath)
	}
	for _, pattern := range distributions {
		there, _ := filepath.Glob(pattern + "/" + name) // an error means a bad pattern, and these are constants
		found = append(found, there...)
	}
	var best int
	for _, program := range found {
		if v := clientMajor(ctx, program); v >= major && v > best {
			path, best = program, v
		}
	}
	if path == "" {
		return "", fmt.Errorf("there is no %s of Postgres %d or newer here: install it (Debian: postgresql-client), or put it on the PATH", name, major)
	}
	return path, nil
}

// clientMajor is the major version that a program says it has; 0 when it does not run.
func clientMajor(ctx context.Context, program string) int {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	_, version, found := strings.Cut(string(out), "(PostgreSQL) ")
	if err != nil || !found {
		return 0
	}
	major, _ := strconv.Atoi(version[:len(version)-len(strings.TrimLeft(version, "0123456789"))])
	return major
}
