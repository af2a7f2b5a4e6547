package archive

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// What an archive may have at most. What the directory of a ZIP says of sizes is not believed: what comes is counted.
const (
	maxEntries  = 2_000_000
	maxManifest = 16 << 20 // and maxOfEntry for each entry
	maxOfEntry  = 1 << 10
	maxSmall    = 1 << 20  // signature, checkpoint, keys
	maxSize     = 16 << 40 // of one file
	maxRatio    = 2000     // of what comes to what is stored: deflate reaches 1032
)

// Reader reads an archive.
type Reader struct {
	Manifest Manifest
	Text     []byte // of the manifest
	entries  map[string]*zip.File
	files    map[string]File
}

// Open looks at an archive: its directory, and its manifest. It reads no other file, and checks no signature. An error says what is wrong
// with the archive.
func Open(from io.ReaderAt, size int64) (*Reader, error) {
	z, err := zip.NewReader(from, size)
	if err != nil {
		return nil, fmt.Errorf("it is no whole ZIP: %w", err)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("it has %d files, and %d are the most", len(z.File), maxEntries)
	}
	r := &Reader{entries: map[string]*zip.File{}, files: map[string]File{}}
	var sum uint64
	folded := map[string]bool{}
	for _, f := range z.File {
		if err := checkEntry(f); err != nil {
			return nil, err
		}
		lower := strings.ToLower(f.Name) // two that many a system would unpack to one
		if folded[lower] {
			return nil, fmt.Errorf("it has %q twice, perhaps in capitals and in small letters", f.Name)
		}
		folded[lower] = true
		r.entries[f.Name] = f
		sum += f.CompressedSize64
	}
	if sum > uint64(size) { // entries that share their bytes
		return nil, errors.New("its files overlap")
	}
	if r.Text, err = r.small(ManifestName, maxManifest+maxOfEntry*int64(len(z.File))); err != nil {
		return nil, err
	}
	return r, r.readManifest()
}

// checkEntry refuses what no export has: paths that lead elsewhere, what is no plain file, and what is not as large as it says.
func checkEntry(f *zip.File) error {
	switch {
	case !fs.ValidPath(f.Name) || strings.ContainsAny(f.Name, "\\:\x00"):
		return fmt.Errorf("%q is no name of a file in an export", f.Name)
	case !f.Mode().IsRegular():
		return fmt.Errorf("%q is no plain file", f.Name)
	case f.Flags&1 != 0 || f.Method != zip.Store && f.Method != zip.Deflate:
		return fmt.Errorf("%q is packed in a way that no export is", f.Name)
	case f.UncompressedSize64 > maxSize || f.UncompressedSize64 > maxRatio*(f.CompressedSize64+64):
		return fmt.Errorf("%q would be %d bytes of %d: no export is packed like that", f.Name, f.UncompressedSize64, f.CompressedSize64)
	}
	return nil
}

// readManifest reads the manifest, and compares it with the directory: each is a file that the other knows.
func (r *Reader) readManifest() error {
	m := &r.Manifest
	in := json.NewDecoder(bytes.NewReader(r.Text))
	var first struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(r.Text, &first); err != nil || first.Format != Format {
		return errors.New("it is no export of Kluis")
	}
	if first.Version > Version {
		return fmt.Errorf("it is an export of version %d, and this program reads those up to %d: use a newer kluis", first.Version, Version)
	}
	in.DisallowUnknownFields()
	if err := in.Decode(m); err != nil {
		return fmt.Errorf("its manifest cannot be read: %w", err)
	}
	for _, f := range m.Files {
		if _, twice := r.files[f.Name]; twice || f.Size < 0 || f.Name == ManifestName || f.Name == SignatureName {
			return fmt.Errorf("its manifest has %q twice, or with a size that no file has", f.Name)
		}
		if r.entries[f.Name] == nil {
			return fmt.Errorf("it lacks the file %q", f.Name)
		}
		r.files[f.Name] = f
	}
	for name := range r.entries {
		if _, known := r.files[name]; !known && name != ManifestName && name != SignatureName {
			return fmt.Errorf("%q is in it, and not in its manifest", name)
		}
	}
	return nil
}

// CheckSignature tells whether one of the keys has signed the manifest.
func (r *Reader) CheckSignature(verifiers []note.Verifier) error {
	signature, err := r.small(SignatureName, maxSmall)
	if err != nil {
		return err
	}
	return Check(r.Manifest.Origin, r.Text, signature, verifiers)
}

// Small reads a file that is small, and compares it with the manifest.
func (r *Reader) Small(name string) ([]byte, error) {
	var all bytes.Buffer
	err := r.Read(name, func(from io.Reader) error {
		_, err := io.Copy(&all, io.LimitReader(from, maxSmall))
		return err
	})
	return all.Bytes(), err
}

func (r *Reader) small(name string, most int64) ([]byte, error) {
	f := r.entries[name]
	if f == nil {
		return nil, fmt.Errorf("it lacks the file %q", name)
	}
	from, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	defer from.Close()
	all, err := io.ReadAll(io.LimitReader(from, most+1))
	if err == nil && int64(len(all)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return all, nil
}

// Has tells whether the manifest has a file.
func (r *Reader) Has(name string) bool { _, has := r.files[name]; return has }

// Under are the files in a folder, sorted by name.
func (r *Reader) Under(folder string) (names []string) {
	for name := range r.files {
		if strings.HasPrefix(name, folder) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// File is what the manifest has of one.
func (r *Reader) File(name string) File { return r.files[name] }

// Read gives a file to fn, and tells then whether it was what the manifest says: of that size, with that hash. Whoever uses what comes
// before that must be ready to undo it. fn need not read all of it.
func (r *Reader) Read(name string, fn func(from io.Reader) error) error {
	f, known := r.files[name]
	if !known {
		return fmt.Errorf("it lacks the file %q", name)
	}
	from, err := r.entries[name].Open()
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer from.Close()
	counted := &measured{from: from, most: f.Size, hash: sha256.New()}
	if err := fn(counted); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if counted.size != f.Size || hex.EncodeToString(counted.hash.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%q is not the file of which the manifest has the hash", name)
	}
	return nil
}

// measured is a file as it comes, which may not be longer than it should be.
type measured struct {
	from io.Reader
	most int64
	hash hash.Hash
	size int64
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.hash.Write(p[:n])
	if m.size += int64(n); m.size > m.most {
		return n, fmt.Errorf("it has more than the %d bytes of the manifest", m.most)
	}
	return n, err
}
