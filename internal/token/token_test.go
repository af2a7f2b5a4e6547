package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestNewParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]Kind{Session, Personal}).Draw(t, "kind")
		workspace := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "workspace"))
		token, digest := New(kind, workspace)
		got, err := Parse(token)
		if want := (Parsed{kind, workspace, digest}); err != nil || got != want {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
		if digest != sha256.Sum256([]byte(token)) || len(token) != 74 || !strings.HasPrefix(token, string(kind)) {
			t.Fatalf("token %q", token)
		}
		if other, _ := New(kind, workspace); other == token {
			t.Fatal("the same token twice")
		}
	})
}

// The layout is a promise to tokens that are out there: this one (made with Python's zlib.crc32) must parse for ever.
func TestLayout(t *testing.T) {
	workspace := uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")
	body := append(slices.Clone(workspace[:]), []byte("a secret of thirty-two bytes ...")...)
	sum := crc32.ChecksumIEEE(append([]byte("klp_"), body...))
	token := "klp_" + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(body, sum))
	if want := "klp_AYkKXayWd0u8zrMCCZqAV2Egc2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXMgLi4unTqi1w"; token != want {
		t.Fatalf("got %s, want %s", token, want)
	}
	if got, err := Parse(token); err != nil || got.Kind != Personal || got.Workspace != workspace {
		t.Fatalf("got %v, %v", got, err)
	}
}

func malformed(t rapid.TB, s, what string) {
	got, err := Parse(s)
	if !errors.Is(err, ErrMalformed) || got != (Parsed{}) {
		t.Fatalf("%s: got %v, %v, want ErrMalformed", what, got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	token, _ := New(Session, uuid.New())
	for what, s := range map[string]string{
		"empty":          "",
		"prefix only":    "kls_",
		"no prefix":      token[4:],
		"other kind":     "klp_" + token[4:],
		"unknown kind":   "klx_" + token[4:],
		"upper case":     "KLS_" + token[4:],
		"padding":        token + "==",
		"line break":     token[:40] + "\n" + token[40:],
		"line break in":  token[:40] + "\n" + token[41:],
		"spaces":         " " + token,
		"bearer":         "Bearer " + token,
		"two":            token + token,
		"all A":          "kls_" + strings.Repeat("A", 70),
		"UTF-8":          "kls_" + strings.Repeat("é", 35),
		"NUL":            token[:73] + "\x00",
		"very long":      "kls_" + strings.Repeat("A", 1<<20),
		"JWT":            "eyJhbGciOiJub25lIn0.e30.",
		"checksum taken": "kls_" + token[4:68],
	} {
		malformed(t, s, what)
	}
	for i := range len(token) {
		malformed(t, token[:i], "truncated")
		for c := range 256 {
			if other := []byte(token); other[i] != byte(c) {
				other[i] = byte(c)
				malformed(t, string(other), "one byte changed, also in the last one's unused bits")
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) { malformed(t, rapid.String().Draw(t, "noise"), "noise") })
}

func FuzzParse(f *testing.F) {
	for _, kind := range []Kind{Session, Personal, "klx_"} {
		token, _ := New(kind, uuid.New())
		f.Add(token)
		f.Add(token[:73])
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || got != (Parsed{}) {
				t.Errorf("got %v, %v", got, err)
			}
			return
		}
		raw, _ := base64.RawURLEncoding.DecodeString(s[4:])
		if spelled := string(got.Kind) + base64.RawURLEncoding.EncodeToString(raw); spelled != s {
			t.Errorf("%q and %q are the same token", s, spelled)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	token, _ := New(Session, uuid.New())
	for b.Loop() {
		if _, err := Parse(token); err != nil {
			b.Fatal(err)
		}
	}
}
