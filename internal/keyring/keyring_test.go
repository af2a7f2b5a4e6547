package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fernet/fernet-go"
	"pgregory.net/rapid"
)

// ring returns a keyring of n random keys, and the text of its key file.
func ring(t rapid.TB, n int) (*Keyring, []string) {
	t.Helper()
	var texts []string
	for range n {
		texts = append(texts, NewDataKey().key().Encode())
	}
	k, err := Load("", strings.Join(texts, ","))
	if err != nil {
		t.Fatal(err)
	}
	return k, texts
}

func mustSeal(t rapid.TB, k interface {
	Seal(string, []byte) (string, error)
}, purpose, plaintext string,
) string {
	t.Helper()
	token, err := k.Seal(purpose, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// What Seal takes, Open gives back, for a keyring and for a data key; and for no other purpose.
func TestSealOpen(t *testing.T) {
	k, _ := ring(t, 2)
	d := NewDataKey()
	rapid.Check(t, func(t *rapid.T) {
		purpose := rapid.StringN(1, 40, -1).Draw(t, "purpose")
		other := rapid.StringN(1, 40, -1).Filter(func(s string) bool { return s != purpose }).Draw(t, "other")
		plaintext := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext")
		for name, s := range map[string]struct {
			seal func(string, []byte) (string, error)
			open func(string, string) ([]byte, error)
		}{"keyring": {k.Seal, k.Open}, "data key": {d.Seal, d.Open}} {
			token, err := s.seal(purpose, plaintext)
			if err != nil {
				t.Fatalf("%s: seal: %v", name, err)
			}
			if got, err := s.open(purpose, token); err != nil || !bytes.Equal(got, plaintext) {
				t.Fatalf("%s: got %x, %v, want %x", name, got, err, plaintext)
			}
			if got, err := s.open(other, token); !errors.Is(err, ErrPurpose) || got != nil {
				t.Fatalf("%s: moved from %q to %q: got %x, %v", name, purpose, other, got, err)
			}
		}
	})
}

// A purpose that begins as another one does, and plaintext that continues it, are still two things.
func TestMovedToken(t *testing.T) {
	k, _ := ring(t, 1)
	token := mustSeal(t, k, "kluis/workspace/a", "/data-key/b MARKER")
	for _, purpose := range []string{"kluis/workspace/a/data-key/b", "kluis/workspace/", "kluis/workspace/A", "kluis/workspace/a\x00"} {
		got, err := k.Open(purpose, token)
		if !errors.Is(err, ErrPurpose) || got != nil {
			t.Errorf("for %q: got %q, %v, want ErrPurpose", purpose, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "MARKER") {
			t.Errorf("the error shows plaintext: %v", err)
		}
	}
	// A token of another program under the same key has no frame: it is for something else, and does not crash us.
	for _, foreign := range []string{"", "\x01", "\x01\x00", "\x01\xff\xffkluis", "MARKER"} {
		token, err := fernet.EncryptAndSign([]byte(foreign), k.keys()[0]())
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Open("kluis", string(token))
		if !errors.Is(err, ErrPurpose) || got != nil || strings.Contains(err.Error(), "MARKER") {
			t.Errorf("foreign %q: got %q, %v, want ErrPurpose", foreign, got, err)
		}
	}
}

func TestPurposeBounds(t *testing.T) {
	k, _ := ring(t, 1)
	for _, purpose := range []string{"", strings.Repeat("p", 65536)} {
		if token, err := k.Seal(purpose, nil); err == nil || token != "" {
			t.Errorf("a purpose of %d bytes was taken", len(purpose))
		}
	}
	if _, err := k.Seal(strings.Repeat("p", 65535), nil); err != nil {
		t.Error(err)
	}
}

// Every bit of every byte counts, in the text as in the bytes behind it; so does every byte at the end.
func TestDamagedToken(t *testing.T) {
	k, _ := ring(t, 2)
	damaged := func(t rapid.TB, token, what string) {
		if got, err := k.Open("field", token); !errors.Is(err, ErrSealed) || got != nil {
			t.Fatalf("%s: got %q, %v, want ErrSealed", what, got, err)
		}
		if k.Current(token) {
			t.Fatalf("%s: counts as current", what)
		}
	}
	token := mustSeal(t, k, "field", "a value of some length")
	raw, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(token) {
		damaged(t, token[:i], "truncated text")
		for bit := range 8 {
			text := []byte(token)
			text[i] ^= 1 << bit
			damaged(t, string(text), "flipped text")
		}
	}
	for i := range raw {
		damaged(t, base64.URLEncoding.EncodeToString(raw[:i]), "truncated bytes")
		for bit := range 8 {
			bytes := slices.Clone(raw)
			bytes[i] ^= 1 << bit
			damaged(t, base64.URLEncoding.EncodeToString(bytes), "flipped bytes")
		}
	}
	for _, text := range []string{
		"", "x", "\n", token + "\n", "\r\n" + token, token + "=", token + "A", token + token, token + "%%", token[:40] + "\n" + token[40:],
		strings.TrimRight(token, "="), strings.ReplaceAll(strings.ReplaceAll(token, "-", "+"), "_", "/") + " ",
		strings.Repeat("A", 100), strings.Repeat("g", 1<<16),
	} {
		if text != token {
			damaged(t, text, "other spelling")
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		plaintext := rapid.StringN(0, 200, -1).Draw(t, "plaintext")
		text := []byte(mustSeal(t, k, "field", plaintext))
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		text[at] ^= rapid.ByteRange(1, 255).Draw(t, "flip")
		damaged(t, string(text), "any damage")
		damaged(t, rapid.StringN(0, 300, -1).Draw(t, "noise"), "noise")
	})
}

func TestOtherKey(t *testing.T) {
	a, _ := ring(t, 1)
	b, _ := ring(t, 3)
	if got, err := b.Open("field", mustSeal(t, a, "field", "x")); !errors.Is(err, ErrSealed) || got != nil {
		t.Fatalf("got %q, %v, want ErrSealed", got, err)
	}
	if got, err := NewDataKey().Open("field", mustSeal(t, NewDataKey(), "field", "x")); !errors.Is(err, ErrSealed) || got != nil {
		t.Fatalf("got %q, %v, want ErrSealed", got, err)
	}
}

// A rotation: the new key goes first, everything still opens, Rewrap moves tokens over one by one and may be
// repeated, and then the old key can go.
func TestRotation(t *testing.T) {
	old, oldText := ring(t, 1)
	token := mustSeal(t, old, "field", "x")
	both, err := Load("", NewDataKey().key().Encode()+","+oldText[0])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := both.Open("field", token); err != nil || string(got) != "x" {
		t.Fatalf("with the old key second: got %q, %v", got, err)
	}
	if !old.Current(token) || both.Current(token) {
		t.Fatal("Current does not tell the first key from the second")
	}
	fresh, err := both.Rewrap(token)
	if err != nil || !both.Current(fresh) {
		t.Fatalf("rewrap: %v, current %v", err, both.Current(fresh))
	}
	before, _ := decode(token)
	after, _ := decode(fresh)
	if !sealedAt(before).Equal(sealedAt(after)) {
		t.Errorf("rewrapping moved the timestamp from %v to %v", sealedAt(before), sealedAt(after))
	}
	if again, err := both.Rewrap(fresh); err != nil || again != fresh {
		t.Errorf("rewrapping a current token changed it: %v", err)
	}
	only := fixed(both.keys()[:1])
	if got, err := only.Open("field", fresh); err != nil || string(got) != "x" {
		t.Errorf("without the old key: got %q, %v", got, err)
	}
	if got, err := only.Open("elsewhere", fresh); !errors.Is(err, ErrPurpose) || got != nil {
		t.Errorf("rewrapped, it opens elsewhere: %q, %v", got, err)
	}
	if id, ok := both.KeyOf(token); !ok || id != both.IDs()[1] {
		t.Errorf("the key of the old token is %q, %v, not %q", id, ok, both.IDs()[1])
	}
	if id, ok := only.KeyOf(token); ok {
		t.Errorf("a token of no key here has the key %q", id)
	}
	if _, err := only.Rewrap(token); !errors.Is(err, ErrSealed) {
		t.Errorf("a token of a key that is gone was rewrapped: %v", err)
	}
}

func TestIDs(t *testing.T) {
	k, _ := ring(t, 3)
	ids := k.IDs()
	if len(ids) != 3 || ids[0] == ids[1] || len(ids[0]) != 8 || !slices.Equal(ids, k.IDs()) {
		t.Fatalf("ids %q", ids)
	}
	for i, id := range ids {
		if strings.Contains(string(k.keys()[i]()[:]), id) || id != keyID(k.keys()[i]) {
			t.Errorf("id %q", id)
		}
	}
}
