package keyring

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"
)

// Keyring is the installation's keys, in order: the first encrypts, all decrypt. It has at least one. It follows the
// file that it was loaded from (see follow.go), so a key that is put there is in use without a restart. It may be
// used by many goroutines.
type Keyring struct {
	ring   atomic.Pointer[[]secret]
	source *source // the file it follows; nil for one that never changes
}

// fixed is a keyring that never changes.
func fixed(keys []secret) *Keyring {
	k := &Keyring{}
	k.ring.Store(&keys)
	return k
}

// keys are those that were last read. The slice is never written to.
func (k *Keyring) keys() []secret { return *k.ring.Load() }

// Now is the ring as it is, and stays so: for who does one thing after another with the same keys.
func (k *Keyring) Now() *Keyring {
	k.reload(0)
	return fixed(k.keys())
}

// Seal encrypts plaintext with the first key, for one purpose, e.g. "kluis/workspace/<id>/data-key/<subject>". The
// purpose is any text of 1 to 65535 bytes; it is sealed too.
func (k *Keyring) Seal(purpose string, plaintext []byte) (token string, err error) {
	k.reload(LookEvery)
	return seal(k.keys()[0], purpose, plaintext, time.Now())
}

// Open decrypts a token that was sealed for this purpose. The error is ErrSealed when no key opens it, ErrPurpose
// when it is genuine but for something else.
func (k *Keyring) Open(purpose, token string) (plaintext []byte, err error) {
	k.try(func(keys []secret) bool {
		plaintext, err = open(keys, purpose, token)
		return err == nil
	})
	return plaintext, err
}

// Current says whether a token is sealed with the first key. False for anything else, so a rotation that counts
// what is not current also counts what does not open at all.
func (k *Keyring) Current(token string) bool {
	_, _, err := decrypt(k.keys()[:1], token)
	return err == nil
}

// KeyOf gives the ID of the key that a token is sealed with; false when it is none of the ring's.
func (k *Keyring) KeyOf(token string) (id string, ok bool) {
	keys := k.keys()
	_, i, err := decrypt(keys, token)
	if err != nil {
		return "", false
	}
	return keyID(keys[i]), true
}

// Rewrap returns the token sealed with the first key, keeping its purpose and its timestamp, as MultiFernet.rotate
// does. A token that is current comes back as it is, so that a rotation may be repeated. It does not matter what the
// token is for: one that was moved opens as little afterwards as before. The error is ErrSealed when no key opens it.
func (k *Keyring) Rewrap(token string) (string, error) {
	keys := k.keys()
	framed, key, err := decrypt(keys, token)
	if err != nil {
		return "", fmt.Errorf("rewrap: %w", err)
	}
	if key == 0 {
		return token, nil
	}
	raw, err := decode(token)
	if err != nil {
		return "", fmt.Errorf("rewrap: %w", err)
	}
	return sealFramed(keys[0], framed, sealedAt(raw))
}

// IDs returns a public name for each key, in order: 8 hex digits. They are for people ("key 1a2b3c4d is no longer
// used") and say nothing about the key.
func (k *Keyring) IDs() []string {
	keys := k.keys()
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = keyID(key)
	}
	return ids
}

// keyID is the start of SHA-256 over a prefix of its own and the key, so that it is no hash of the key used elsewhere.
func keyID(key secret) string {
	sum := sha256.Sum256(append([]byte("kluis/key-id/v1\x00"), key()[:]...))
	return hex.EncodeToString(sum[:4])
}
