package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// port is a part of the socket's name. Nothing listens on TCP.
const port = "5432"

// chooseSocket chooses the folder of the socket. It is inside the folder of the server when the path is short enough and Postgres gets
// there, and otherwise in the folder for temporary files.
func (s *Server) chooseSocket(ctx context.Context) (string, error) {
	longest := len(syscall.RawSockaddrUnix{}.Path) - 1 // 107 bytes on Linux, 103 on macOS
	candidates := []string{s.folder.file("socket")}
	for _, temp := range slices.Compact([]string{os.TempDir(), "/tmp"}) {
		candidates = append(candidates, filepath.Join(temp, s.passwords.socketName(s.folder)))
	}
	for _, dir := range candidates {
		if len(socketFile(dir)) <= longest && filepath.IsAbs(dir) && s.account.reaches(ctx, s.binaries.program("postgres"), filepath.Dir(dir)) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no folder for the socket of Postgres: user id %d must get there and the path may have %d bytes; tried %s",
		s.account.uid, longest, strings.Join(candidates, ", "))
}

func socketFile(dir string) string { return filepath.Join(dir, ".s.PGSQL."+port) }

// makeSocket makes the folder of the socket, or checks the one that exists. Only the account and root may get in: another user who may
// write there could put a server of his own in place of this one. The caller holds alive, so a socket in the folder is a dead one. Its
// lock file names a process id as postmaster.pid does, and misleads Postgres in the same way.
func (s *Server) makeSocket(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return s.account.give(dir)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || ownerOf(info) != s.account.uid || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("%s should be a folder of user id %d with mode 0700, and is %s of user id %d: remove it", dir, s.account.uid, info.Mode(), ownerOf(info))
	}
	for _, stale := range []string{socketFile(dir), socketFile(dir) + ".lock"} {
		if err := os.Remove(stale); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// dropSocket removes the folder of a stopped server from the folder for temporary files.
func (s *Server) dropSocket() {
	if strings.HasPrefix(filepath.Base(s.socket), "kluis-") {
		_ = os.Remove(s.socket) // when it is not empty, it stays, and is used again
	}
}
