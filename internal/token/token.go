// Package token makes and reads what a client presents: opaque bearer tokens, and the 6-digit codes of mails.
//
// A bearer token is a prefix that says its kind and base64url (no padding) of 52 bytes: the workspace's id (16), a
// random secret (32), and a CRC-32 (IEEE, big-endian) over the prefix and those 48. The prefix lets secret scanners
// find tokens that leaked; the workspace's id says where to look, so no URL carries it; the checksum lets mistyped
// and made-up tokens be refused without asking the database. The database has the SHA-256 of the whole token: the
// secret has 256 random bits, so a fast hash without salt is enough.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/google/uuid"
)

// Kind is what a token is for, and its prefix.
type Kind string

const (
	Session  Kind = "kls_" // a login
	Personal Kind = "klp_" // a personal API token
)

// ErrMalformed says that a text is no token of ours. It says no more, and shows none of the text.
var ErrMalformed = errors.New("malformed token")

// Sizes in bytes. The text is as long whatever the kind: 74 characters.
const (
	secretSize = 32
	prefixSize = 4
	bodySize   = len(uuid.UUID{}) + secretSize
)

var encoding = base64.RawURLEncoding.Strict()

// Parsed is what a well-formed token says. It is not yet known to anybody: look the digest up in the workspace.
type Parsed struct {
	Kind      Kind
	Workspace uuid.UUID
	Digest    [sha256.Size]byte
}

// New returns a token for the client, shown once, and the digest to store.
func New(kind Kind, workspace uuid.UUID) (token string, digest [sha256.Size]byte) {
	raw := make([]byte, bodySize, bodySize+crc32.Size)
	copy(raw, workspace[:])
	rand.Read(raw[len(workspace):]) // never fails, see crypto/rand
	raw = binary.BigEndian.AppendUint32(raw, checksum(kind, raw))
	token = string(kind) + encoding.EncodeToString(raw)
	return token, sha256.Sum256([]byte(token))
}

// Parse reads a token. Its error is ErrMalformed, for a wrong prefix, length, checksum, or spelling: each token has
// one, so that one secret never has two digests.
func Parse(s string) (Parsed, error) {
	if len(s) != prefixSize+encoding.EncodedLen(bodySize+crc32.Size) {
		return Parsed{}, ErrMalformed
	}
	kind := Kind(s[:prefixSize])
	raw, err := encoding.DecodeString(s[prefixSize:])
	if err != nil || len(raw) != bodySize+crc32.Size || (kind != Session && kind != Personal) {
		return Parsed{}, ErrMalformed
	}
	if binary.BigEndian.Uint32(raw[bodySize:]) != checksum(kind, raw[:bodySize]) {
		return Parsed{}, ErrMalformed
	}
	return Parsed{Kind: kind, Workspace: uuid.UUID(raw[:16]), Digest: sha256.Sum256([]byte(s))}, nil
}

func checksum(kind Kind, body []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(kind)), crc32.IEEETable, body)
}
