package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// unfinished is the folder of what is being written. No key has a name that begins with a dot.
const unfinished = ".unfinished"

// directory keeps each blob in a file of its own. A root keeps every path inside, whatever links there are.
type directory struct{ root *os.Root }

func openDirectory(folder string) (Store, error) {
	if err := os.MkdirAll(filepath.Join(folder, unfinished), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of blobs: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open the folder of blobs: %w", err)
	}
	return &directory{root}, nil
}

// Put writes in this order:
//
//  1. The bytes go to a file in unfinished, and to the disk (fsync).
//  2. The folder of the key is made, and is on the disk as well.
//  3. The file is renamed to its key: from here on the blob is there.
//  4. The folder goes to the disk, so that the blob is still there after a loss of power.
//
// Killed before 3, a process leaves a file in unfinished, which Sweep finds. Killed before 4 it leaves the whole blob or such a file.
func (d *directory) Put(_ context.Context, key string, write func(io.Writer) error) (err error) {
	if err := checkNew(key); err != nil {
		return err
	}
	temporary := path.Join(unfinished, path.Dir(key)+"."+rand.Text())
	f, err := d.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("begin blob %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = d.root.Remove(temporary) // else Sweep finds it
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write blob %s: %w", key, err)
	}
	if err := d.makeFolder(path.Dir(key)); err != nil {
		return err
	}
	if err := d.root.Rename(temporary, key); err != nil {
		return fmt.Errorf("name blob %s: %w", key, err)
	}
	return d.sync(path.Dir(key))
}

func (d *directory) makeFolder(folder string) error {
	err := d.root.Mkdir(folder, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the folder of blobs %s: %w", folder, err)
	}
	return d.sync(".")
}

// sync puts the names in a folder on the disk.
func (d *directory) sync(folder string) error {
	f, err := d.root.Open(folder)
	if err != nil {
		return fmt.Errorf("open the folder of blobs %s: %w", folder, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync the folder of blobs %s: %w", folder, err)
	}
	return nil
}

// sizedFile is an open file with the size that it has for good.
type sizedFile struct {
	*os.File
	size int64
}

func (f sizedFile) Size() int64 { return f.size }

func (d *directory) Open(_ context.Context, key string) (Blob, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	f, err := d.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", key, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open blob %s: %w", key, err), f.Close())
	}
	return sizedFile{f, info.Size()}, nil
}

func (d *directory) Delete(_ context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	err := d.root.Remove(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return d.sync(path.Dir(key))
}

func (d *directory) List(ctx context.Context, folder string, each func(Item) error) error {
	return d.walk(ctx, folder, func(name string, info fs.FileInfo) error {
		key := path.Join(folder, name)
		if !keyForm.MatchString(key) || !info.Mode().IsRegular() { // somebody else's
			return nil
		}
		return each(Item{Key: key, Size: info.Size(), Modified: info.ModTime()})
	})
}

// walk gives the files of a folder to each, some at a time. A folder that is not there has none.
func (d *directory) walk(ctx context.Context, folder string, each func(name string, info fs.FileInfo) error) error {
	f, err := d.root.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the folder of blobs %s: %w", folder, err)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(1000)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("list the folder of blobs %s: %w", folder, err)
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
				continue
			}
			if err == nil {
				err = each(entry.Name(), info)
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
		}
	}
}

// Purge also takes the folder away. What is being written to it ends where it is to be named.
func (d *directory) Purge(ctx context.Context, folder string) (n int, err error) {
	if err := checkKey(folder + "/x"); err != nil {
		return 0, err
	}
	err = d.walk(ctx, unfinished, func(name string, _ fs.FileInfo) error {
		if strings.HasPrefix(name, folder+".") {
			n++
			return d.root.Remove(path.Join(unfinished, name))
		}
		return nil
	})
	if err == nil {
		err = d.walk(ctx, folder, func(name string, _ fs.FileInfo) error {
			n++
			return d.root.Remove(path.Join(folder, name))
		})
	}
	if err == nil {
		err = d.root.Remove(folder)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("purge the folder of blobs %s: %w", folder, err)
	}
	return n, d.sync(".")
}

// Sweep goes by when a file was last written to, so that an upload that is slow and still comes is left alone.
func (d *directory) Sweep(ctx context.Context, before time.Time) (swept int, err error) {
	err = d.walk(ctx, unfinished, func(name string, info fs.FileInfo) error {
		if !info.ModTime().Before(before) {
			return nil
		}
		if err := d.root.Remove(path.Join(unfinished, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep an unfinished blob: %w", err)
		}
		swept++
		return nil
	})
	return swept, err
}

// Ping makes a file and takes it away.
func (d *directory) Ping(context.Context) error {
	name := path.Join(unfinished, rand.Text())
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write to the folder of blobs: %w", err)
	}
	return errors.Join(f.Close(), d.root.Remove(name))
}
