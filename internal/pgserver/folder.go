package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// folder is the folder of a private Postgres: an absolute path without symbolic links.
type folder string

func (d folder) file(name string) string { return filepath.Join(string(d), name) }
func (d folder) cluster() string         { return d.file("cluster") }

// Made tells whether there is a cluster in dir. It is true as well when the folder cannot be read.
func Made(dir string) bool {
	_, err := os.Stat(folder(dir).cluster())
	return !errors.Is(err, fs.ErrNotExist)
}

// openFolder makes dir when it is missing, and refuses a folder that another user could change.
func openFolder(dir string) (folder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	// For root, Postgres runs as another user, who has to pass through.
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(abs, mode); err != nil {
		return "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", err
	}
	return folder(abs), folder(abs).check()
}

// check refuses a folder in which another user could change or replace files.
func (d folder) check() error {
	info, err := os.Stat(string(d))
	if err != nil {
		return err
	}
	owner, euid := ownerOf(info), os.Geteuid()
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", d)
	case euid != 0 && owner != euid:
		return fmt.Errorf("%s belongs to user id %d and this process runs as %d: run it as that user, or choose another folder", d, owner, euid)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("%s has mode %#o, with which anybody may write there: chmod o-w, or choose another folder", d, info.Mode().Perm())
	}
	if _, err := os.Stat(d.file("PG_VERSION")); err == nil {
		return fmt.Errorf("%s is itself a Postgres data directory, not made by Kluis: choose another folder; nothing was changed", d)
	}
	return nil
}

// openPrivate opens a file in the folder for reading and writing, mode 0600, and makes it when it is missing. A file that root makes in
// the folder of an ordinary user is given to that user, who may run kluis next.
func (d folder) openPrivate(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(d.file(name), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		err = d.inherit(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (d folder) inherit(f *os.File) error {
	info, err := os.Stat(string(d))
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	return f.Chown(int(st.Uid), int(st.Gid))
}

// replace writes a whole file. After a crash there is the old one or the new one.
func (d folder) replace(name string, content []byte) error {
	f, err := d.openPrivate(name+".new", os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), d.file(name)); err != nil {
		return err
	}
	return d.sync()
}

// sync makes the names in the folder durable.
func (d folder) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
