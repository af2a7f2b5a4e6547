package keyring

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/fernet/fernet-go"
)

// The settings that Load reads, as its errors name them.
const (
	settingFile   = "KLUIS_KEYS"
	settingInline = "KLUIS_KEYS_INLINE"
)

// maxFile is the size of the largest key file, in bytes: more than a thousand keys.
const maxFile = 64 << 10

// Load reads keys from inline (separated by commas) or, when inline is empty, from the file at path (a key a line; blank lines and lines
// that begin with # do not count). A key is 32 bytes in base64url (RFC 4648), as Fernet.generate_key() of Python's cryptography prints it.
//
// It refuses keys that protect nothing: none at all, or one that is malformed, there twice, published, or obviously not random. It refuses
// a file that others than its owner may read. The errors name the setting and what to do, and never contain text that might be a
// key. When the file is missing, the error is fs.ErrNotExist.
//
// A keyring from a file follows the file: see follow.go.
func Load(path, inline string) (*Keyring, error) {
	if inline != "" {
		keys, err := parse(settingInline, "key", strings.Split(inline, ","), false)
		if err != nil {
			return nil, err
		}
		return fixed(keys), nil
	}
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := parseFile(text)
	if err != nil {
		return nil, err
	}
	k := fixed(keys)
	k.source = &source{path: path, read: text}
	k.source.looked.Store(new(time.Now()))
	return k, nil
}

func parseFile(text string) ([]secret, error) {
	return parse(settingFile, "line", strings.Split(text, "\n"), true)
}

// parse reads one key from each entry. Only a file may have empty entries and comments. An empty entry in a variable is most likely a secret
// that a template did not find.
func parse(setting, entry string, entries []string, comments bool) (keys []secret, err error) {
	seen := map[fernet.Key]int{}
	for i, text := range entries {
		text = strings.TrimSpace(text)
		if comments && (text == "" || text[0] == '#') {
			continue
		}
		key, reason := parseKey(text)
		if reason == "" && seen[*key] > 0 {
			reason = fmt.Sprintf("is the same key as %s %d", entry, seen[*key])
		}
		if reason != "" {
			return nil, fmt.Errorf("%s: %s %d %s; take it out, or make a new one with `kluis keys new`", setting, entry, i+1, reason)
		}
		seen[*key] = i + 1
		keys = append(keys, hide(key))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: there is no key in it; make one with `kluis keys new`", setting)
	}
	return keys, nil
}

// parseKey returns the key, or the reason why it is refused.
func parseKey(text string) (key *fernet.Key, refused string) {
	if text == "" {
		return nil, "is empty"
	}
	raw, err := base64.URLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Sprintf("is not base64url with its padding (it has %d characters, a key has 44 and ends in =)", len(text))
	}
	key = new(fernet.Key)
	if len(raw) != len(key) {
		return nil, fmt.Sprintf("has %d bytes, a key has %d", len(raw), len(key))
	}
	copy(key[:], raw)
	return key, weakness(key)
}

// readFile returns the text of a key file that only its owner may read.
func readFile(path string) (string, error) {
	switch {
	case path == "":
		return "", fmt.Errorf("%s: no key file is named, and %s is empty; set one of them", settingFile, settingInline)
	case keyLike.MatchString(path):
		return "", fmt.Errorf("%s: expected the path of a file, and the value looks like a key; put keys into %s", settingFile, settingInline)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // so that a pipe does not make the program wait
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: there is no file %s; name the right one, or make one with `kluis keys new`: %w", settingFile, path, fs.ErrNotExist)
	}
	if err != nil {
		return "", fmt.Errorf("%s: the file cannot be opened; let the user of the program read it: %w", settingFile, err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", settingFile, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: %s is no regular file; name the key file itself", settingFile, path)
	case info.Mode().Perm()&^allowed(path) != 0:
		return "", fmt.Errorf("%s: %s has mode %04o, with which others than its owner may read it; run `chmod 600` on it", settingFile, path, info.Mode().Perm())
	case info.Size() > maxFile:
		return "", fmt.Errorf("%s: %s has %d bytes, a key file at most %d; name the right one", settingFile, path, info.Size(), maxFile)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return "", fmt.Errorf("%s: %w", settingFile, err)
	}
	return string(text), nil
}

// allowed is the widest mode that a key file may have. On the credentials that systemd hands to a service, the bits of the group are the mask of an
// access list, which names only the user of the service (systemd.exec, LoadCredential=).
func allowed(path string) fs.FileMode {
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(path) == filepath.Clean(dir) {
		return 0o740
	}
	return 0o700
}

// keyLike finds what may be a key, or a part of one, in place of a path: a long bare name without a dot, or anything that ends in the padding of
// base64.
var keyLike = regexp.MustCompile(`(?:^|[,\s])(?:[A-Za-z0-9_+-]{24,}|[^,\s]+=)(?:$|[,\s])`)
