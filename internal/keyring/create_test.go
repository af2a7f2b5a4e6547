package keyring

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestCreate(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "data", "deep", "keys")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Join(top, "data"): 0o700} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	first, err := Load(path, "")
	if err != nil || len(first.IDs()) != 1 {
		t.Fatalf("loading gave %v, %v", first, err)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: %v, want fs.ErrExist", err)
	}
	if again, err := Load(path, ""); err != nil || again.IDs()[0] != first.IDs()[0] {
		t.Errorf("the file was replaced: %v, %v", again, err)
	}
	if err := createInPlace(path, "x"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("in place: %v, want fs.ErrExist", err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v, want the key file only", left, err)
	}
}

// Programs that start at the same time: one makes the file, and whoever lost reads a whole one.
func TestCreateRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "keys")
	var wg sync.WaitGroup
	errs := make([]error, 16)
	ids := make([]string, len(errs))
	for i := range errs {
		wg.Go(func() {
			errs[i] = Create(path)
			k, err := Load(path, "")
			if err != nil {
				t.Errorf("after Create: %v", err)
				return
			}
			ids[i] = k.IDs()[0]
		})
	}
	wg.Wait()
	made := 0
	for i, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		if ids[i] != ids[0] {
			t.Errorf("two programs read keys %s and %s", ids[0], ids[i])
		}
	}
	if made != 1 {
		t.Errorf("%d made the file, want 1", made)
	}
}

func TestCreateFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(filepath.Join(file, "keys")); err == nil {
		t.Error("made a key file inside a file")
	}
}

func TestCreateInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := createInPlace(path, header+NewDataKey().key().Encode()+"\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, ""); err != nil {
		t.Error(err)
	}
}
