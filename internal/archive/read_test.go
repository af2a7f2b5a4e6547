package archive

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"
)

// zipOf makes a ZIP of whatever make puts into it.
func zipOf(t *testing.T, make func(z *zip.Writer) error) []byte {
	t.Helper()
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	if err := make(z); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func entry(z *zip.Writer, h zip.FileHeader, content []byte) error {
	w, err := z.CreateHeader(&h)
	if err == nil {
		_, err = w.Write(content)
	}
	return err
}

const emptyManifest = `{"format": "kluis-export", "version": 1, "files": []}`

// What nobody signed is refused before any of it is believed: names that lead elsewhere, entries twice, of other kinds, larger than they
// say, or that share their bytes; a manifest that would fill the memory, is of something else, or of a later version.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	manifest := func(z *zip.Writer, text string) error {
		return entry(z, zip.FileHeader{Name: ManifestName, Method: zip.Deflate}, []byte(text))
	}
	also := func(h zip.FileHeader, content string) func(z *zip.Writer) error {
		return func(z *zip.Writer) error {
			if err := manifest(z, emptyManifest); err != nil {
				return err
			}
			return entry(z, h, []byte(content))
		}
	}
	link := zip.FileHeader{Name: "link"}
	link.SetMode(fs.ModeSymlink | 0o777)
	for what, c := range map[string]struct {
		make func(z *zip.Writer) error
		says string
	}{
		"whole":                {func(z *zip.Writer) error { return manifest(z, emptyManifest) }, ""},
		"a path up":            {also(zip.FileHeader{Name: "../../etc/passwd"}, "x"), "no name of a file"},
		"a path from the root": {also(zip.FileHeader{Name: "/etc/passwd"}, "x"), "no name of a file"},
		"a path of Windows":    {also(zip.FileHeader{Name: `data\..\..\x`}, "x"), "no name of a file"},
		"a drive":              {also(zip.FileHeader{Name: `C:x`}, "x"), "no name of a file"},
		"a link":               {also(link, "/etc/passwd"), "no plain file"},
		"a folder":             {also(zip.FileHeader{Name: "data/"}, ""), "no name of a file"},
		"twice":                {also(zip.FileHeader{Name: ManifestName}, "{}"), "twice"},
		"in other letters":     {also(zip.FileHeader{Name: strings.ToUpper(ManifestName)}, "{}"), "twice"},
		"not in the manifest":  {also(zip.FileHeader{Name: "data/more.json"}, "x"), "not in its manifest"},
		"a bomb":               {also(zip.FileHeader{Name: "data/task.json", Method: zip.Deflate}, strings.Repeat("\x00", 1<<20)), "not in its manifest"},
		"a manifest that is a bomb": {func(z *zip.Writer) error {
			return manifest(z, `{"format": "kluis-export", "version": 1, "files": [`+strings.Repeat("{},", 6<<20)+`{}]}`)
		}, "more than"},
		"of something else": {func(z *zip.Writer) error { return manifest(z, `{"format": "other"}`) }, "not an export of Kluis"},
		"of a later version": {func(z *zip.Writer) error {
			return manifest(z, `{"format": "kluis-export", "version": 2, "more": 1}`)
		}, "use a newer kluis"},
		"a file that is not there": {func(z *zip.Writer) error {
			return manifest(z, `{"format": "kluis-export", "version": 1, "files": [{"name": "data/task.json", "size": 1}]}`)
		}, "lacks the file"},
		"a file twice in the manifest": {func(z *zip.Writer) error {
			text := `{"name": "data/task.json", "size": 1}`
			if err := manifest(z, `{"format": "kluis-export", "version": 1, "files": [`+text+","+text+`]}`); err != nil {
				return err
			}
			return entry(z, zip.FileHeader{Name: "data/task.json"}, []byte("x"))
		}, "twice"},
	} {
		file := zipOf(t, c.make)
		_, err := Open(bytes.NewReader(file), int64(len(file)))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
	for _, size := range []int{0, 1, 21, 22, 100} {
		if _, err := Open(bytes.NewReader(make([]byte, size)), int64(size)); err == nil {
			t.Errorf("%d bytes that are no ZIP", size)
		}
	}
}

// A file is given out as far as the manifest says, and then found to be another one: whatever its entry says of its size and its sum.
func TestFilesAreWhatTheManifestSays(t *testing.T) {
	t.Parallel()
	const name, content, sum = "data/task.json", "hello", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for what, c := range map[string]struct {
		size int
		sum  string
		fine bool
	}{
		"as it is":      {5, sum, true},
		"longer":        {4, sum, false},
		"shorter":       {6, sum, false},
		"other content": {5, strings.Repeat("0", 64), false},
		"no sum":        {5, "", false},
	} {
		file := zipOf(t, func(z *zip.Writer) error {
			if err := entry(z, zip.FileHeader{Name: ManifestName}, fmt.Appendf(nil, `{"format": "kluis-export", "version": 1, "files": [{"name": %q, "size": %d, "sha256": %q}]}`, name, c.size, c.sum)); err != nil {
				return err
			}
			return entry(z, zip.FileHeader{Name: name, Method: zip.Deflate}, []byte(content))
		})
		r, err := Open(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Small(name); (err == nil) != c.fine {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Small refuses a file that is larger than small ones are: it never returns a part of one as if it were the whole.
func TestSmall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		size  int
		whole bool
	}{{0, true}, {maxSmall, true}, {maxSmall + 1, false}} {
		var file bytes.Buffer
		w := NewWriter(&file, time.Now())
		content := strings.Repeat("x", c.size)
		err := errors.Join(
			w.Add(EdgeName, func(to io.Writer, _ *int) error { _, err := io.WriteString(to, content); return err }),
			w.Finish(Manifest{Format: Format, Version: Version}, func([]byte) ([]byte, error) { return nil, nil }))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(bytes.NewReader(file.Bytes()), int64(file.Len()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Small(EdgeName)
		if (err == nil) != c.whole || c.whole && string(got) != content {
			t.Errorf("of %d bytes: %d, %v", c.size, len(got), err)
		}
	}
}
