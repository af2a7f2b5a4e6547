package keyring

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"
)

// Keyring has the keys of the installation, in order: the first encrypts, all decrypt. It has at least one. It follows the file that it
// was loaded from (see follow.go), so a new key in the file is in use without a restart. It is safe for concurrent use.
type Keyring struct {
	ring   atomic.Pointer[[]secret]
	source *source // the file that it follows; nil when it never changes
}

// fixed is a keyring that never changes.
func fixed(keys []secret) *Keyring {
	k := &Keyring{}
	k.ring.Store(&keys)
	return k
}

// keys are the keys in use. The slice is never written to.
func (k *Keyring) keys() []secret { return *k.ring.Load() }

// Now returns the ring as it is now, which never changes: for several steps that have to use the same keys.
func (k *Keyring) Now() *Keyring {
	k.reload(0)
	return fixed(k.keys())
}

// Seal encrypts plaintext with the first key for one purpose, for instance "kluis/workspace/<id>/data-key/<subject>". The purpose
// is any text of 1 to 65535 bytes, and is sealed as well.
func (k *Keyring) Seal(purpose string, plaintext []byte) (token string, err error) {
	k.reload(LookEvery)
	return seal(k.keys()[0], purpose, plaintext, time.Now())
}

// Open decrypts a token that was sealed for this purpose. The error is ErrSealed when no key opens the token, and ErrPurpose when it was sealed for
// another purpose.
func (k *Keyring) Open(purpose, token string) (plaintext []byte, err error) {
	k.try(func(keys []secret) bool {
		plaintext, err = open(keys, purpose, token)
		return err == nil
	})
	return plaintext, err
}

// Current tells whether a token is sealed with the first key. It is false for a token that does not open at all, so a rotation that
// counts what is not current counts that, too.
func (k *Keyring) Current(token string) bool {
	_, _, err := decrypt(k.keys()[:1], token)
	return err == nil
}

// KeyOf returns the ID of the key that a token is sealed with. ok is false when it is no key of the ring.
func (k *Keyring) KeyOf(token string) (id string, ok bool) {
	keys := k.keys()
	_, i, err := decrypt(keys, token)
	if err != nil {
		return "", false
	}
	return keyID(keys[i]), true
}

// Rewrap returns the token sealed with the first key. Purpose and timestamp stay, as with MultiFernet.rotate. A current token comes back as it
// is, so a rotation may be repeated. Rewrap does not check the purpose: a token that was moved to another place still does not open there.
// The error is ErrSealed when no key opens the token.
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

// IDs returns a public name of each key, in order: 8 hexadecimal digits. It is for people ("key 1a2b3c4d is no longer used"), and says nothing
// about the key.
func (k *Keyring) IDs() []string {
	keys := k.keys()
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = keyID(key)
	}
	return ids
}

// keyID is the beginning of SHA-256 over a prefix and the key. With the prefix it is no hash of the key that is used elsewhere.
func keyID(key secret) string {
	sum := sha256.Sum256(append([]byte("kluis/key-id/v1\x00"), key()[:]...))
	return hex.EncodeToString(sum[:4])
}
