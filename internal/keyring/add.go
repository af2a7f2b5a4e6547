package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Prepend puts a new random key before the others in a key file: from now on it encrypts. Processes that follow the file take it up
// by themselves.
func Prepend(path string) error { return add(path, true) }

// Append puts a new random key behind the others: it only decrypts, until its line is moved to the top. It is for several machines with a
// file each, where every one must be able to decrypt with a key before the first one encrypts with it.
func Append(path string) error { return add(path, false) }

// add replaces a valid key file, by one rename, with one that has one key more. A process that reads it meanwhile finds the one or the other,
// whole; so does one that comes after add was killed. Owner and mode stay.
func add(path string, first bool) (err error) {
	path, err = filepath.EvalSymlinks(path) // the file, not the link to it, is replaced
	if err != nil {
		return fmt.Errorf("add a key: %w", err)
	}
	unlock, err := lockFile(path)
	if err != nil {
		return fmt.Errorf("add a key: wait for another program that adds one: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	text, err := readFile(path)
	if err != nil {
		return err
	}
	if _, err := parseFile(text); err != nil {
		return err // a key more makes no file valid
	}
	if err := replace(path, withKey(text, NewDataKey().key().Encode(), first)); err != nil {
		return fmt.Errorf("add a key: %w", err)
	}
	return nil
}

// withKey is the text of a key file with one key more: below the comments at its top, or at its end.
func withKey(text, key string, first bool) string {
	if !first {
		return strings.TrimRight(text, "\r\n") + "\n" + key + "\n"
	}
	top := 0
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && trimmed[0] != '#' {
			break
		}
		top += len(line)
	}
	return text[:top] + key + "\n" + text[top:]
}

// lockFile keeps other programs from adding keys until unlock. The lock is on the file itself, which they replace: when the file was replaced
// during the wait, lockFile waits for the lock of the new one.
func lockFile(path string) (unlock func() error, err error) {
	for {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		mine, err := file.Stat()
		now, statErr := os.Stat(path)
		if err == nil && statErr == nil && os.SameFile(mine, now) {
			return file.Close, nil
		}
		if err := errors.Join(err, statErr, file.Close()); err != nil {
			return nil, err
		}
	}
}

// replace writes text under another name and renames that to path. When it returns, the file at path is on disk.
func replace(path, text string) error {
	before, err := os.Stat(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	draft, err := os.CreateTemp(dir, ".keys-*") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name()) // renamed by then, unless something failed
	if err := keepOwner(draft, before); err != nil {
		return errors.Join(err, draft.Close())
	}
	if err := writeSynced(draft, text); err != nil {
		return err
	}
	if err := os.Rename(draft.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// keepOwner gives a file to the owner of another, so that the program can still read its keys after root has added one.
func keepOwner(file *os.File, like fs.FileInfo) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	want, okToo := like.Sys().(*syscall.Stat_t)
	if !ok || !okToo || is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	return file.Chown(int(want.Uid), int(want.Gid))
}
