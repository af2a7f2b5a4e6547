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

// unfinished is the folder of blobs that are being written. No key begins with a dot.
const unfinished = ".unfinished"

// directory keeps each blob in a file of its own. With an os.Root every path stays inside, whatever symbolic links there are.
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
//  2. The folder of the key is made, and goes to the disk as well.
//  3. The file is renamed to its key: from now on the blob is there.
//  4. The folder goes to the disk, so that the blob is still there after a loss of power.
//
// A process that is killed before 3 leaves a file in unfinished, which Sweep finds. One that is killed before 4 leaves the whole blob, or
// such a file.
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
			_ = d.root.Remove(temporary) // when that fails, Sweep finds it
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

// sizedFile is an open file with its size, which never changes.
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
		if !keyForm.MatchString(key) || !info.Mode().IsRegular() { // not one of this program's
			return nil
		}
		return each(Item{Key: key, Size: info.Size(), Modified: info.ModTime()})
	})
}

// walk calls each for the files of a folder, which it reads some at a time. A folder that does not exist has none.
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
			if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
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

// Purge deletes the folder, too. A Put that is under way fails when it renames its file. Another process may delete the same files meanwhile, so a
// file that has gone is no error.
func (d *directory) Purge(ctx context.Context, folder string) (n int, err error) {
	if err := checkKey(folder + "/x"); err != nil {
		return 0, err
	}
	remove := func(name string) error {
		err := d.root.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n++
		}
		return err
	}
	err = d.walk(ctx, unfinished, func(name string, _ fs.FileInfo) error {
		if strings.HasPrefix(name, folder+".") {
			return remove(path.Join(unfinished, name))
		}
		return nil
	})
	if err == nil {
		err = d.walk(ctx, folder, func(name string, _ fs.FileInfo) error { return remove(path.Join(folder, name)) })
	}
	if err == nil {
		err = d.root.Remove(folder)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("purge the folder of blobs %s: %w", folder, err)
	}
	return n, d.sync(".")
}

// Sweep goes by when a file was last written to, so that a slow upload that still comes is left alone.
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

// Ping makes a file and deletes it.
func (d *directory) Ping(context.Context) error {
	name := path.Join(unfinished, rand.Text())
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write to the folder of blobs: %w", err)
	}
	return errors.Join(f.Close(), d.root.Remove(name))
}
