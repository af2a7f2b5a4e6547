package keyring

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Keyring is the installation's keys, in order: the first encrypts, all decrypt. It has at least one, and never
// changes once loaded, so it may be used by many goroutines.
type Keyring struct {
	keys []secret
}

// Seal encrypts plaintext with the first key, for one purpose, e.g. "kluis/workspace/<id>/data-key/<subject>". The
// purpose is any text of 1 to 65535 bytes; it is sealed too.
func (k *Keyring) Seal(purpose string, plaintext []byte) (token string, err error) {
	return seal(k.keys[0], purpose, plaintext, time.Now())
}

// Open decrypts a token that was sealed for this purpose. The error is ErrSealed when no key opens it, ErrPurpose
// when it is genuine but for something else.
func (k *Keyring) Open(purpose, token string) ([]byte, error) {
	return open(k.keys, purpose, token)
}

// Current says whether a token is sealed with the first key. False for anything else, so a rotation that counts
// what is not current also counts what does not open at all.
func (k *Keyring) Current(token string) bool {
	_, _, err := decrypt(k.keys[:1], token)
	return err == nil
}

// Rewrap returns the token sealed with the first key, keeping its timestamp as MultiFernet.rotate does. A token
// that is current comes back as it is, so that a rotation may be repeated. Errors are those of Open.
func (k *Keyring) Rewrap(purpose, token string) (string, error) {
	plaintext, err := k.Open(purpose, token)
	if err != nil {
		return "", fmt.Errorf("rewrap: %w", err)
	}
	if k.Current(token) {
		return token, nil
	}
	raw, err := decode(token)
	if err != nil {
		return "", fmt.Errorf("rewrap %q: %w", purpose, err)
	}
	return seal(k.keys[0], purpose, plaintext, sealedAt(raw))
}

// IDs returns a public name for each key, in order: 8 hex digits. They are for people ("key 1a2b3c4d is no longer
// used") and say nothing about the key.
func (k *Keyring) IDs() []string {
	ids := make([]string, len(k.keys))
	for i, key := range k.keys {
		ids[i] = keyID(key)
	}
	return ids
}

// keyID is the start of SHA-256 over a prefix of its own and the key, so that it is no hash of the key used elsewhere.
func keyID(key secret) string {
	sum := sha256.Sum256(append([]byte("kluis/key-id/v1\x00"), key()[:]...))
	return hex.EncodeToString(sum[:4])
}
