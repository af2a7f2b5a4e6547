package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// hba lets nobody in but over the socket and with a password (see passwords).
const hba = "local all all scram-sha-256\n"

// settings are defaults that an operator may change, with ALTER SYSTEM or in the file. What must hold is in arguments.
const settings = `
# From here on: Kluis
max_connections = 100
max_locks_per_transaction = 256   # a migration or a dropped workspace locks every table of its schema
shared_buffers = 256MB
jit = off                         # short statements, many times: compiling them only costs
`

// dataDir is a data directory that is handed to a program of Postgres: by its path, or as an open file when the account may not walk there. With
// the open file Postgres needs no permission on the folders above.
type dataDir struct {
	path string
	f    *os.File
}

func (s *Server) openData(ctx context.Context, path string) (dataDir, error) {
	if s.account.reaches(ctx, s.binaries.program("postgres"), path) {
		return dataDir{path: path}, nil
	}
	if runtime.GOOS != "linux" {
		return dataDir{}, fmt.Errorf("user id %d, which Postgres runs as, cannot get to %s: %s is closed to others; open it (chmod o+x) or use another folder",
			s.account.uid, path, closedFolder(path))
	}
	f, err := os.Open(path)
	return dataDir{path: path, f: f}, err
}

func (d dataDir) close() {
	if d.f != nil {
		_ = d.f.Close() // opened for reading
	}
}

// program prepares a program that works on a data directory. The program inherits alive as descriptor 3, and so holds that lock until it
// and all its children have ended.
func (s *Server) program(name string, alive lock, data dataDir, args ...string) *exec.Cmd {
	files, path := []*os.File{alive.f}, data.path
	if data.f != nil {
		files, path = append(files, data.f), "/proc/self/fd/4"
	}
	cmd := s.account.command(s.binaries.program(name), append([]string{"-D", path}, args...)...)
	cmd.ExtraFiles = files
	return cmd
}

// createCluster makes a cluster under another name, and renames it when it is whole.
func (s *Server) createCluster(ctx context.Context) error {
	alive, err := s.claim(ctx) // waits for the initdb of a kluis that was killed
	if err != nil {
		return err
	}
	defer alive.close()
	halves, _ := filepath.Glob(s.folder.file("new-*")) // an error means a bad pattern, and this is a constant
	for _, half := range halves {
		s.log.InfoContext(ctx, "removing a cluster that was not finished", "folder", half)
		if err := os.RemoveAll(half); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(string(s.folder), "new-")
	if err != nil {
		return err
	}
	if err := s.fill(ctx, alive, temp); err != nil {
		return errors.Join(fmt.Errorf("make a Postgres cluster in %s: %w", s.folder, err), os.RemoveAll(temp))
	}
	if err := os.Rename(temp, s.folder.cluster()); err != nil { // it can replace only an empty folder
		return err
	}
	return s.folder.sync()
}

func (s *Server) fill(ctx context.Context, alive lock, temp string) error {
	if err := s.account.give(temp); err != nil {
		return err
	}
	data, err := s.openData(ctx, temp)
	if err != nil {
		return err
	}
	defer data.close()
	if err := s.initdb(ctx, alive, data); err != nil {
		return err
	}
	if err := rewrite(filepath.Join(temp, "pg_hba.conf"), os.O_TRUNC, hba); err != nil {
		return err
	}
	return rewrite(filepath.Join(temp, "postgresql.conf"), os.O_APPEND, settings)
}

// initdb makes the files of a cluster. Text is ordered by code points, and case is that of Unicode, on every machine. Up to Postgres 16
// the C library's C.UTF-8 does so, from 17 on Postgres' own.
func (s *Server) initdb(ctx context.Context, alive lock, data dataDir) error {
	args := []string{"--username=" + superuser, "--encoding=UTF8", "--auth=reject", "--data-checksums", "--no-instructions"}
	if s.settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	if s.binaries.major >= 17 {
		_, err := s.output(ctx, s.program("initdb", alive, data, append(args, "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")...))
		return err
	}
	out, err := s.output(ctx, s.program("initdb", alive, data, append(args, "--locale=C.UTF-8")...))
	if err != nil && strings.Contains(out, "invalid locale") { // as on an older macOS, or with musl: there only ASCII has case
		_, err = s.output(ctx, s.program("initdb", alive, data, append(args, "--locale=C")...))
	}
	return err
}

// ensurePasswords sets the passwords of a cluster that has none yet, or whose file of passwords was lost. The file is written last: as long as it is
// missing, the next start sets passwords again.
func (s *Server) ensurePasswords(ctx context.Context, alive lock, data dataDir) error {
	if s.passwords.stored {
		return nil
	}
	if err := s.setPasswords(ctx, alive, data); err != nil {
		return err
	}
	s.passwords.stored = true
	return s.passwords.write(s.folder)
}

// setPasswords makes the logins and sets the passwords of all three roles. It does so in Postgres' single-user mode, which asks for no password,
// and in which nobody else can connect. Each line is a statement.
func (s *Server) setPasswords(ctx context.Context, alive lock, data dataDir) error {
	cmd := s.program("postgres", alive, data, "-c", "log_min_error_statement=panic", superuser)
	cmd.Args = append([]string{cmd.Args[0], "--single"}, cmd.Args[1:]...) // --single has to come first
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`ALTER ROLE %[1]s PASSWORD '%[4]s'
DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%[2]s') THEN CREATE ROLE %[2]s; END IF; END$$
ALTER ROLE %[2]s LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOINHERIT NOREPLICATION NOBYPASSRLS PASSWORD '%[5]s'
DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%[3]s') THEN CREATE ROLE %[3]s; END IF; END$$
ALTER ROLE %[3]s LOGIN NOSUPERUSER CREATEROLE NOCREATEDB NOINHERIT NOREPLICATION NOBYPASSRLS PASSWORD '%[6]s'
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC
`, superuser, Login, Admin, s.passwords.superuser, s.passwords.login, s.passwords.admin))
	out, err := s.output(ctx, cmd)
	// An error in a statement does not end single-user mode.
	if err == nil && (strings.Contains(out, "ERROR:") || strings.Contains(out, "FATAL:")) {
		return fmt.Errorf("set the passwords: %s", lastLines(out))
	}
	return err
}

// output runs a program to its end and returns what it wrote. An error has the last lines of that.
func (s *Server) output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := run(ctx, cmd); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", cmd.Path, err, lastLines(out.String()))
	}
	return out.String(), nil
}

// rewrite changes a file that initdb has made. The file stays the account's.
func rewrite(path string, how int, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|how, 0)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Sync(), f.Close())
}
