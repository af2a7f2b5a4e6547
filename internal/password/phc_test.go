package password

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	salt22 = "c29tZXNhbHRzb21lc2FsdA"
	hash43 = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
)

func TestParse(t *testing.T) {
	for _, params := range []string{"m=65536,t=3,p=1", "m=19456,t=2,p=1", "m=8,t=1,p=1", "m=524288,t=16,p=16"} {
		phc := "$argon2id$v=19$" + params + "$" + salt22 + "$" + hash43
		if r, err := parse(phc); err != nil || r.String() != phc {
			t.Errorf("%s: got %v, %v", params, r, err)
		}
	}
}

var malformed = []string{
	"", "$", "$$$$$", "$$$$$$", "plain", "\x00", "$2y$10$abcdefghijklmnopqrstuv",
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22,
	"$argon2i$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43,
	"$argon2d$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43,
	"$Argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43,
	"$argon2id$v=16$m=65536,t=3,p=1$" + salt22 + "$" + hash43,
	"$argon2id$m=65536,t=3,p=1$" + salt22 + "$" + hash43,
	"x$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43,
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43 + "$",
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43 + "=",
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43 + "\n",
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "\n$" + hash43,
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43[:42] + "d", // bits that do not count
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$",
	"$argon2id$v=19$m=65536,t=3,p=1$$" + hash43,
	"$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$" + hash43,
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$c2hvcnQ",
	"$argon2id$v=19$m=65536,t=3,p=1$" + strings.Repeat("AAAA", 22) + "$" + hash43,
	"$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$" + strings.Repeat("AAAA", 1<<16),
}

var malformedParams = []string{
	"", "m=65536", "m=65536,t=3", "t=3,m=65536,p=1", "m=65536,t=3,p=1,keyid=1", "m=65536,t=3,p=1,", "m=65536,t=3,p=", "m=,t=,p=",
	"m=065536,t=3,p=1", "m=+65536,t=3,p=1", "m=-1,t=3,p=1", "m= 65536,t=3,p=1", "m=1e5,t=3,p=1", "m=0x10000,t=3,p=1", "m=65_536,t=3,p=1",
	"m=4194304,t=3,p=1", "m=4294967295,t=3,p=1", "m=4294967296,t=3,p=1", "m=524289,t=3,p=1", "m=99999999999999999999,t=3,p=1", // 4 GiB and so on
	"m=65536,t=0,p=1", "m=65536,t=17,p=1", "m=65536,t=4294967295,p=1", "m=65536,t=3,p=0", "m=65536,t=3,p=17", "m=65536,t=3,p=257", "m=65536,t=3,p=4294967297",
	"m=7,t=3,p=1", "m=0,t=3,p=1", "m=31,t=3,p=4",
}

func TestParseRefuses(t *testing.T) {
	all := malformed
	for _, p := range malformedParams {
		all = append(all, "$argon2id$v=19$"+p+"$"+salt22+"$"+hash43)
	}
	h := hasher(t, Floor, 1, 0)
	h.derive = func(_, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte { t.Error("hashed"); return nil }
	for _, phc := range all {
		ok, rehash, err := h.Verify(t.Context(), "x", phc, "correct horse")
		if ok || rehash || !errors.Is(err, ErrMalformed) {
			t.Errorf("%.80q: got %v, %v, %v, want ErrMalformed", phc, ok, rehash, err)
		}
		if err != nil && (strings.Contains(err.Error(), hash43[:8]) || len(err.Error()) > 200) {
			t.Errorf("the error shows the hash: %v", err)
		}
	}
}

func TestParseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		threads := rapid.Uint8Range(1, ceiling.Threads).Draw(t, "p")
		want := record{
			params: Params{rapid.Uint32Range(8*uint32(threads), ceiling.Memory).Draw(t, "m"), rapid.Uint32Range(1, ceiling.Time).Draw(t, "t"), threads},
			salt:   rapid.SliceOfN(rapid.Byte(), minSalt, maxSalt).Draw(t, "salt"),
			hash:   rapid.SliceOfN(rapid.Byte(), minHash, maxHash).Draw(t, "hash"),
		}
		got, err := parse(want.String())
		if err != nil || got.String() != want.String() || got.params != want.params {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=1$" + salt22 + "$" + hash43)
	for _, phc := range malformed {
		f.Add(phc)
	}
	f.Fuzz(func(t *testing.T, phc string) {
		r, err := parse(phc)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%v is not ErrMalformed", err)
			}
			return
		}
		if r.String() != phc {
			t.Errorf("%q came out as %q", phc, r)
		}
		if err := r.params.check(Params{8, 1, 1}); err != nil || len(r.hash) < minHash || len(r.salt) < minSalt {
			t.Errorf("%q was accepted: %v", phc, err)
		}
	})
}
