package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/keyring"
)

// Folder keeps signed checkpoints where the database's owner cannot rewrite them, and the public keys that verify them, also those
// that no longer sign: <folder>/<workspace>/<epoch>/<size>, and <folder>/keys/<key id>. Nothing is ever replaced.
type Folder struct{ Path string }

// A name sorts as its number does.
const number = "%019d"

func (f Folder) of(workspace uuid.UUID, more ...string) string {
	return filepath.Join(append([]string{f.Path, workspace.String()}, more...)...)
}

// Keep keeps a signed checkpoint. One of the same size that is kept already stays.
func (f Folder) Keep(c Checkpoint, signed []byte) error {
	path := f.of(c.Origin.Workspace, strconv.Itoa(c.Origin.Epoch), fmt.Sprintf(number, c.Size))
	if err := writeOnce(path, signed); err != nil {
		return fmt.Errorf("keep the checkpoint of workspace %s at %d: %w", c.Origin.Workspace, c.Size, err)
	}
	return nil
}

// KeepKeys keeps public keys.
func (f Folder) KeepKeys(keys keyring.PublicKeys) error {
	for _, key := range keys {
		name := filepath.Join(f.Path, "keys", key.ID())
		if err := writeOnce(name, []byte(key.String()+"\n")); err != nil {
			return fmt.Errorf("keep the verifier key %s: %w", key.ID(), err)
		}
	}
	return nil
}

// writeOnce writes a file that is not there yet, whole or not at all.
func writeOnce(path string, text []byte) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(dir, ".draft-*")
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(text)
	if err == nil {
		err = draft.Sync()
	}
	if err := errors.Join(err, draft.Close()); err != nil {
		return err
	}
	return os.Rename(draft.Name(), path)
}

// Keys are the public keys that were kept.
func (f Folder) Keys() (keys keyring.PublicKeys, err error) {
	names, err := list(filepath.Join(f.Path, "keys"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(f.Path, "keys", name))
		if err != nil {
			return nil, err
		}
		key, err := keyring.ParsePublicKey(string(text[:max(len(text)-1, 0)]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// All gives the signed checkpoints of a workspace that were kept, the oldest first.
func (f Folder) All(workspace uuid.UUID) (all [][]byte, err error) {
	names, err := f.names(workspace)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, err
}

// Last gives the newest one; nil when there is none.
func (f Folder) Last(workspace uuid.UUID) ([]byte, error) {
	names, err := f.names(workspace)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return os.ReadFile(names[len(names)-1])
}

// names are the files of a workspace, by epoch and size.
func (f Folder) names(workspace uuid.UUID) (names []string, err error) {
	folders, err := list(f.of(workspace))
	if err != nil {
		return nil, err
	}
	var epochs []int
	for _, name := range folders {
		if epoch, err := strconv.Atoi(name); err == nil {
			epochs = append(epochs, epoch)
		}
	}
	slices.Sort(epochs)
	for _, epoch := range epochs {
		dir := f.of(workspace, strconv.Itoa(epoch))
		files, err := list(dir)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			names = append(names, filepath.Join(dir, file))
		}
	}
	return names, nil
}

// list gives the names in a folder in their order, drafts left out; none for a folder that is not there.
func list(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.Name()[0] != '.' {
			names = append(names, e.Name())
		}
	}
	return names, err
}
