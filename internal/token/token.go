// Package token makes and reads what a client presents: opaque bearer tokens (RFC 6750), and the 6-digit codes of mails.
//
// A bearer token is a prefix that says its kind, and base64url (no padding) of 52 bytes: the workspace's id (16), a random secret (32),
// and a CRC-32 (IEEE, big-endian) over the prefix and those 48. Each part has a use:
//
//   - By the prefix secret scanners find tokens that leaked.
//   - The workspace's id says where to look the token up, so no URL carries it.
//   - The checksum refuses mistyped and made-up tokens without asking the database.
//
// The database has the SHA-256 of the whole token. A fast hash without salt is enough, because the secret has 256 random bits.
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
	Session  Kind = "kls_" // of a login
	Personal Kind = "klp_" // a personal API token
)

// ErrMalformed says that a text is no token. It says no more, and shows none of the text.
var ErrMalformed = errors.New("malformed token")

// Sizes in bytes. The text of every kind has 74 characters.
const (
	secretSize = 32
	prefixSize = 4
	bodySize   = len(uuid.UUID{}) + secretSize
)

var encoding = base64.RawURLEncoding.Strict()

// Parsed is what a well-formed token says. Whether the token is genuine, the caller finds out by looking the digest up in the workspace.
type Parsed struct {
	Kind      Kind
	Workspace uuid.UUID
	Digest    [sha256.Size]byte
}

// New returns a token for the client, who sees it once, and the digest to store.
func New(kind Kind, workspace uuid.UUID) (token string, digest [sha256.Size]byte) {
	raw := make([]byte, bodySize, bodySize+crc32.Size)
	copy(raw, workspace[:])
	rand.Read(raw[len(workspace):]) // never fails, see crypto/rand
	raw = binary.BigEndian.AppendUint32(raw, checksum(kind, raw))
	token = string(kind) + encoding.EncodeToString(raw)
	return token, sha256.Sum256([]byte(token))
}

// Parse reads a token. The error is ErrMalformed for a wrong prefix, length, checksum or spelling. Each token has only one spelling, so that one
// secret never has two digests.
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
