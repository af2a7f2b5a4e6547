package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const header = `# Keys of this Kluis: one a line, the first encrypts, all decrypt.
# Keep a copy away from this machine and from the database's backups: without it nothing sealed can be read again.
`

// Create writes a new key file with one random key, mode 0600, and makes its folder (0700) when that is missing. It never replaces a file: the
// error is then fs.ErrExist. When it returns nil, file and folder are on disk.
//
// The file is written under another name and then linked to its own, so that two programs that start at the same time never read half a file.
// On a file system without links it is made in place.
func Create(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	text := header + NewDataKey().key().Encode() + "\n"
	draft, err := os.CreateTemp(dir, ".keys-*") // mode 0600, O_EXCL
	if err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	defer os.Remove(draft.Name())
	if err := writeSynced(draft, text); err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	err = os.Link(draft.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = createInPlace(path, text)
	}
	if err == nil {
		err = errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create key file: %s exists, and is not replaced: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	return nil
}

// createInPlace leaves no file when it fails, and does not touch one that exists.
func createInPlace(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := writeSynced(file, text); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// writeSynced writes a text, flushes it to disk and closes the file.
func writeSynced(file *os.File, text string) error {
	_, err := strings.NewReader(text).WriteTo(file)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
