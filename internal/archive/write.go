package archive

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"time"
)

// Writer writes an archive. Of the files that were written, only name, size and hash stay in memory.
type Writer struct {
	zip   *zip.Writer
	at    time.Time
	files []File
}

// NewWriter begins an archive.
func NewWriter(to io.Writer, at time.Time) *Writer { return &Writer{zip: zip.NewWriter(to), at: at} }

// Add writes a compressed file. write may set rows.
func (w *Writer) Add(name string, write func(to io.Writer, rows *int) error) error {
	return w.add(name, zip.Deflate, write)
}

// AddStored writes a file that compression would not make smaller.
func (w *Writer) AddStored(name string, write func(to io.Writer, rows *int) error) error {
	return w.add(name, zip.Store, write)
}

func (w *Writer) add(name string, method uint16, write func(to io.Writer, rows *int) error) error {
	entry, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: w.at})
	if err != nil {
		return fmt.Errorf("begin %s: %w", name, err)
	}
	counted := &counter{to: entry, hash: sha256.New()}
	file := File{Name: name}
	if err := write(counted, &file.Rows); err != nil {
		return err
	}
	file.Size, file.SHA256 = counted.size, hex.EncodeToString(counted.hash.Sum(nil))
	w.files = append(w.files, file)
	return nil
}

// Finish writes the manifest of the files that were added, and its signature.
func (w *Writer) Finish(m Manifest, sign func(manifest []byte) ([]byte, error)) error {
	m.Files = w.files
	text, err := m.Encode()
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	signature, err := sign(text)
	if err != nil {
		return err
	}
	for name, bytes := range map[string][]byte{ManifestName: text, SignatureName: signature} {
		entry, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: w.at})
		if err != nil {
			return fmt.Errorf("begin %s: %w", name, err)
		}
		if _, err := entry.Write(bytes); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return w.zip.Close()
}

// counter counts and hashes what is written through it.
type counter struct {
	to   io.Writer
	hash hash.Hash
	size int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.hash.Write(p[:n])
	c.size += int64(n)
	return n, err
}
