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

// The limits of an archive. The sizes in the directory of the ZIP are not trusted: the bytes that come are counted.
const (
	maxEntries  = 2_000_000
	maxManifest = 16 << 20 // and maxOfEntry for each file
	maxOfEntry  = 1 << 10
	maxSmall    = 1 << 20  // signature, checkpoint, keys
	maxSize     = 16 << 40 // of one file
	maxRatio    = 2000     // of the bytes of a file to those in the ZIP: deflate reaches 1032
)

// Reader reads an archive.
type Reader struct {
	Manifest Manifest
	Text     []byte // the manifest as it was written
	entries  map[string]*zip.File
	files    map[string]File
}

// Open reads the directory and the manifest of an archive. It reads no other file, and checks no signature. An error says what is wrong with
// the archive.
func Open(from io.ReaderAt, size int64) (*Reader, error) {
	z, err := zip.NewReader(from, size)
	if err != nil {
		return nil, fmt.Errorf("it is not a whole ZIP file: %w", err)
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
		lower := strings.ToLower(f.Name) // many systems would unpack both to one file
		if folded[lower] {
			return nil, fmt.Errorf("it has %q twice, perhaps in capitals and in small letters", f.Name)
		}
		folded[lower] = true
		r.entries[f.Name] = f
		sum += f.CompressedSize64
	}
	if sum > uint64(size) { // some share their bytes
		return nil, errors.New("its files overlap")
	}
	if r.Text, err = r.small(ManifestName, maxManifest+maxOfEntry*int64(len(z.File))); err != nil {
		return nil, err
	}
	return r, r.readManifest()
}

// checkEntry refuses a file as no export has it: with a path that leads elsewhere, not a plain file, or larger than it can be.
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

// readManifest reads the manifest, and compares it with the directory: they have to have the same files.
func (r *Reader) readManifest() error {
	m := &r.Manifest
	in := json.NewDecoder(bytes.NewReader(r.Text))
	var first struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(r.Text, &first); err != nil || first.Format != Format {
		return errors.New("it is not an export of Kluis")
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

// Small reads a file of at most 1 MiB, and compares it with the manifest.
func (r *Reader) Small(name string) ([]byte, error) {
	if n := r.files[name].Size; n > maxSmall {
		return nil, fmt.Errorf("%q has %d bytes, and %d are the most", name, n, maxSmall)
	}
	var all bytes.Buffer
	err := r.Read(name, func(from io.Reader) error {
		_, err := io.Copy(&all, from)
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

// Under returns the names of the files in a folder, sorted.
func (r *Reader) Under(folder string) (names []string) {
	for name := range r.files {
		if strings.HasPrefix(name, folder) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// File returns what the manifest has of a file.
func (r *Reader) File(name string) File { return r.files[name] }

// Read calls fn with a file, and tells afterwards whether the file has the size and the hash in the manifest. A caller that uses bytes
// before that must be ready to undo it. fn need not read the whole file.
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

// measured counts and hashes a file as it is read. The file must not be longer than the manifest says.
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
