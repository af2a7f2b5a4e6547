package checkpoint

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/sumdb/note"
)

// cosigner is a key that verifies cosignatures (C2SP tlog-cosignature, cosignature/v1), as note.Verifier has it.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

var _ note.Verifier = cosigner{}

const cosignatureV1 = 4 // the type of the key (C2SP signed-note)

// parseCosigner reads <name>+<hash>+<key>. The hash, which binds the name to the key, must be right.
func parseCosigner(vkey string) (c cosigner, err error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, text, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil || name == "" || strings.ContainsFunc(name, unicode.IsSpace) || len(key) == 0:
		return c, fmt.Errorf("%q is no verifier key: expected <name>+<hash>+<key>", vkey)
	case key[0] != cosignatureV1 || len(key) != 1+ed25519.PublicKeySize:
		return c, fmt.Errorf("the key of %s is none of a witness: expected the type 4, Ed25519 (cosignature/v1)", name)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	c = cosigner{name, binary.BigEndian.Uint32(sum[:]), key[1:]}
	if hash != fmt.Sprintf("%08x", c.hash) {
		return c, fmt.Errorf("the key of %s has the hash %08x, not %s: a letter of it is wrong", name, c.hash, hash)
	}
	return c, nil
}

// Name is note.Verifier's.
func (c cosigner) Name() string { return c.name }

// KeyHash is note.Verifier's.
func (c cosigner) KeyHash() uint32 { return c.hash }

// Verify is note.Verifier's. A cosignature is the time at which it was made, in seconds since 1970 as 8 bytes, and the signature of that time
// and of the checkpoint.
func (c cosigner) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), text)
	return ed25519.Verify(c.key, message, sig[8:])
}

// timeOf is when a cosignature was made that was verified, whose text is a hash of 4 bytes, the time, and the signature.
func timeOf(text string) time.Time {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < 12 {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC()
}
