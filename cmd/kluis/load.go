package main

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/archive"
	"github.com/kluis-eu/kluis/internal/keyring"
)

// zipped tells whether a file is a ZIP, by its first bytes.
func zipped(name string) bool {
	file, err := os.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, 4)
	_, err = file.Read(head)
	return err == nil && string(head) == "PK\x03\x04"
}

// load is `kluis import FILE.zip`: it checks an export, and makes a workspace of it.
func (f importFile) load(ctx context.Context, out outputs) error {
	file, err := os.Open(f.File)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	known, err := trusted(f.Trusted)
	if err != nil {
		return err
	}
	r, err := archive.Open(file, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", f.File, err)
	}
	whole, err := commands.VerifyArchive(r, known, nil)
	if err != nil {
		return fmt.Errorf("%s: %w; nothing was loaded", f.File, err)
	}
	m := r.Manifest
	fmt.Fprintf(out.stdout, "%s: whole: workspace %s of %s, %d records, root %s, %d files\n", f.File, m.Workspace.Slug, m.Origin, m.UpTo, whole.Root, len(m.Files))
	if f.Verify {
		return nil
	}
	c, err := f.singleCell(f.outside)
	if err != nil {
		return err
	}
	b, keys, err := c.openKeyed(ctx, out)
	if err != nil {
		return err
	}
	defer b.close()
	blobs, err := c.outside.blobStore(ctx, c.Data)
	if err != nil {
		return err
	}
	made, err := b.Commands(ctx, commands.Needs{Keys: keys, Region: c.name, Blobs: blobs}, nil)
	if err != nil {
		return err
	}
	slug := cmp.Or(f.As, m.Workspace.Slug)
	done, err := made.LoadArchive(ctx, whole, slug, func(step string) { fmt.Fprintf(out.stderr, "loading %s: %s\n", slug, step) })
	if err != nil {
		return err
	}
	same := "and the read models are those of the export"
	if !done.Compared {
		same = "not compared with the export, because somebody has changed the workspace meanwhile"
	}
	_, err = fmt.Fprintf(out.stdout, "workspace %s (%s): %d records, %s; %d files are missing\nmembers have no passwords: each asks for a new one by mail, as for a forgotten password\n",
		slug, done.Workspace.ID, m.UpTo, same, len(m.Missing))
	return err
}

// trusted reads the verifier keys of files.
func trusted(names []string) (known keyring.PublicKeys, err error) {
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		keys, err := commands.ParseVerifierKeys(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		known = known.With(keys)
	}
	return known, nil
}
