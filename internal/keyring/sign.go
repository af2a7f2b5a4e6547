package keyring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Each key of the ring makes a key that signs (Ed25519, RFC 8032), by HKDF (RFC 5869). So the signing keys live outside of the database as the keys
// do, are made with them, and are rotated with them. All of them sign. So whoever has the verifier key of before can go on to
// verify while a new one is made known, until the old key leaves the file.

// Signers returns what signs notes (C2SP signed-note) under a name, that of the first key first.
func (k *Keyring) Signers(name string) ([]note.Signer, error) {
	k.reload(LookEvery)
	var signers []note.Signer
	for _, key := range k.keys() {
		private := signing(key)
		verifier, err := PublicKey(private.Public().(ed25519.PublicKey)).verifier(name)
		if err != nil {
			return nil, err
		}
		signers = append(signers, signer{verifier, func(message []byte) []byte { return ed25519.Sign(private, message) }})
	}
	return signers, nil
}

// PublicKeys returns the keys that verify what the ring signs, in order.
func (k *Keyring) PublicKeys() PublicKeys {
	k.reload(LookEvery)
	var public PublicKeys
	for _, key := range k.keys() {
		public = append(public, PublicKey(signing(key).Public().(ed25519.PublicKey)))
	}
	return public
}

func signing(key secret) ed25519.PrivateKey {
	seed, err := hkdf.Key(sha256.New, key()[:], nil, "kluis/sign/v1", ed25519.SeedSize)
	if err != nil {
		panic(fmt.Sprintf("keyring: HKDF of %d bytes: %v", ed25519.SeedSize, err)) // only for outputs over 8160 bytes
	}
	return ed25519.NewKeyFromSeed(seed)
}

// signer is a note.Signer. It holds the key as secret does: of a function, fmt prints the address.
type signer struct {
	note.Verifier
	sign func(message []byte) []byte
}

// Sign implements note.Signer.
func (s signer) Sign(message []byte) ([]byte, error) { return s.sign(message), nil }

// PublicKey is an Ed25519 key that verifies.
type PublicKey ed25519.PublicKey

// ParsePublicKey reads the text of PublicKey.String.
func ParsePublicKey(text string) (PublicKey, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%q is no Ed25519 key in base64", text)
	}
	return raw, nil
}

// ParseVerifierKey reads a verifier key (C2SP signed-note, vkey) of any name.
func ParseVerifierKey(text string) (PublicKey, error) {
	if _, err := note.NewVerifier(text); err != nil {
		return nil, fmt.Errorf("%q is no verifier key: %w", text, err)
	}
	_, key, _ := strings.Cut(text, "+") // <name>+<hash>+<key>
	_, key, _ = strings.Cut(key, "+")
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return nil, fmt.Errorf("%q is no Ed25519 verifier key", text)
	}
	return raw[1:], nil
}

// String is the key in base64.
func (p PublicKey) String() string { return base64.StdEncoding.EncodeToString(p) }

// ID names the key for people: 8 hexadecimal digits, the beginning of its SHA-256.
func (p PublicKey) ID() string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:4])
}

// VerifierKey returns the key in the format of note tools (C2SP signed-note, vkey), for what is signed under a name.
func (p PublicKey) VerifierKey(name string) (string, error) {
	return note.NewEd25519VerifierKey(name, ed25519.PublicKey(p))
}

func (p PublicKey) verifier(name string) (note.Verifier, error) {
	key, err := p.VerifierKey(name)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(key)
}

// PublicKeys are several keys, any of which verifies.
type PublicKeys []PublicKey

// With returns the keys together with those of others, each once.
func (p PublicKeys) With(others PublicKeys) PublicKeys {
	for _, key := range others {
		if !slices.ContainsFunc(p, func(k PublicKey) bool { return bytes.Equal(k, key) }) {
			p = append(slices.Clip(p), key)
		}
	}
	return p
}

// Verifiers returns what verifies notes that are signed under a name. It is empty for a name that no note can have.
func (p PublicKeys) Verifiers(name string) []note.Verifier {
	var all []note.Verifier
	for _, key := range p {
		if v, err := key.verifier(name); err == nil {
			all = append(all, v)
		}
	}
	return all
}
