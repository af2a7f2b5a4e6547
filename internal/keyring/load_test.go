package keyring

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// keyFile writes a key file and returns its path.
func keyFile(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	want, texts := ring(t, 3)
	a, b, c := texts[0], texts[1], texts[2]
	for name, from := range map[string][2]string{
		"file":           {keyFile(t, "# ours\n\n"+a+"\n  "+b+"\t\r\n#"+b+"\n"+c, 0o600), ""},
		"read-only file": {keyFile(t, strings.Join(texts, "\n"), 0o400), ""},
		"inline":         {"", a + "," + b + "," + c},
		"inline, spaced": {"", " " + a + " ,\n" + b + ", " + c + "\n"},
		"inline wins":    {keyFile(t, NewDataKey().key().Encode(), 0o644), strings.Join(texts, ",")},
	} {
		got, err := Load(from[0], from[1])
		if err != nil || !slices.Equal(got.IDs(), want.IDs()) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
}

// Each refusal names the setting and what to do, and shows nothing that could be a key.
func TestLoadRefuses(t *testing.T) {
	good := NewDataKey().key().Encode()
	other := NewDataKey().key().Encode()
	same := func(b byte, n int) string {
		return base64.URLEncoding.EncodeToString([]byte(strings.Repeat(string([]byte{b}), n)))
	}
	counting := make([]byte, 32)
	for i := range counting {
		counting[i] = byte(7 * i)
	}
	half := NewDataKey().key()[:16]
	text := "correct horse battery staple 42!"

	for name, bad := range map[string]string{
		"spec sample":    "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
		"airflow sample": "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",
		"zeros":          same(0, 32),
		"one byte":       same(0xff, 32),
		"counting":       base64.URLEncoding.EncodeToString(counting),
		"half repeated":  base64.URLEncoding.EncodeToString(append(slices.Clone(half), half...)),
		"text":           base64.URLEncoding.EncodeToString([]byte(text)),
		"short":          base64.URLEncoding.EncodeToString(NewDataKey().key()[:31]),
		"long":           base64.URLEncoding.EncodeToString(append(NewDataKey().key()[:], 9)),
		"no padding":     strings.TrimRight(other, "="),
		"cut":            other[:20],
		"standard":       "+" + other[1:21] + "/" + other[22:],
		"hex":            strings.Repeat("0123456789abcdef", 4),
		"two in one":     other + other,
		"quoted":         `"` + other + `"`,
		"not canonical":  other[:42] + string(other[42]+1) + "=",
		"duplicate":      good,
		"unicode":        "ключ-ключ-ключ-ключ",
	} {
		for _, list := range [][]string{{bad}, {good, bad}} {
			if name == "duplicate" && len(list) == 1 {
				continue
			}
			_, errInline := Load("", strings.Join(list, ","))
			refused(t, name, errInline, "KLUIS_KEYS_INLINE: key", good, other, bad, text)
			_, errFile := Load(keyFile(t, strings.Join(list, "\n"), 0o600), "")
			refused(t, name, errFile, "KLUIS_KEYS: line", good, other, bad, text)
		}
	}
	for _, sample := range published {
		_, err := Load("", sample)
		refused(t, "published", err, "KLUIS_KEYS_INLINE: key 1 is a published sample key", sample)
	}
	for _, inline := range []string{" ", ",", good + ",", "," + good, good + ",," + other, "#" + good} {
		_, err := Load(keyFile(t, good, 0o600), inline)
		refused(t, "empty entry", err, "KLUIS_KEYS_INLINE: key", good, other)
	}
}

func TestLoadRefusesFile(t *testing.T) {
	good := NewDataKey().key().Encode()
	missing := filepath.Join(t.TempDir(), "keys")
	_, err := Load(missing, "")
	refused(t, "missing", err, missing)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v is not fs.ErrNotExist", err)
	}
	for name, text := range map[string]string{"empty": "", "comments": "# nothing\n\n", "huge": good + "\n" + strings.Repeat("#\n", maxFile)} {
		_, err := Load(keyFile(t, text, 0o600), "")
		refused(t, name, err, "KLUIS_KEYS: ", good)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o644, 0o610, 0o777} {
		path := keyFile(t, good, 0o600)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, "")
		refused(t, mode.String(), err, "chmod 600", good)
	}
	_, err = Load(t.TempDir(), "")
	refused(t, "folder", err, "regular file")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(pipe, "")
	refused(t, "pipe", err, "regular file")
	_, err = Load("", "")
	refused(t, "nothing set", err, "KLUIS_KEYS_INLINE")
	// The keys themselves, put where the path belongs: whole, a list, cut short.
	for _, path := range []string{good, good + "," + good, good + "\n" + good, good[:43], good[:30], good[:10] + "="} {
		_, err := Load(path, "")
		refused(t, "key as path", err, "KLUIS_KEYS_INLINE", good, path)
	}
}

// refused checks an error of Load: that it is one, names the setting, says what to do, and shows no secret nor any
// 12 characters of one.
func refused(t *testing.T, name string, err error, want string, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: was accepted", name)
		return
	}
	if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "KLUIS_KEYS") {
		t.Errorf("%s: %q does not say %q", name, err, want)
	}
	for _, secret := range secrets {
		for i := 0; i+12 <= len(secret); i++ {
			if strings.Contains(err.Error(), secret[i:i+12]) {
				t.Errorf("%s: %q shows key text", name, err)
				return
			}
		}
	}
}

// A credential of systemd shows the mask of its access list as the group's bits. Elsewhere such a file is refused.
func TestCredentialOfSystemd(t *testing.T) {
	path := newFile(t)
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, ""); err == nil {
		t.Error("a file that a group may read is taken")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(path))
	if _, err := Load(path, ""); err != nil {
		t.Errorf("a credential: %v", err)
	}
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, ""); err == nil {
		t.Error("a credential that everybody may read is taken")
	}
}
