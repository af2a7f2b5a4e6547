package keyring

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/fernet/fernet-go"
)

// DataKey is a key of one workspace or one member: 32 random bytes, used as a Fernet key (16 to sign, 16 to encrypt). It is
// stored wrapped by a Keyring, and seals fields in the database. The zero DataKey seals and opens nothing.
type DataKey struct {
	key secret
}

var errNoDataKey = errors.New("keyring: the data key is empty")

// NewDataKey returns a random data key.
func NewDataKey() DataKey {
	key := new(fernet.Key)
	rand.Read(key[:]) // never fails, see crypto/rand
	return DataKey{hide(key)}
}

// Wrap seals a data key with the first key of the ring. Rewrap and Current take the token that it returns.
func (k *Keyring) Wrap(purpose string, d DataKey) (string, error) {
	if d.key == nil {
		return "", fmt.Errorf("wrap %q: %w", purpose, errNoDataKey)
	}
	return k.Seal(purpose, d.key()[:])
}

// Unwrap opens a token of Wrap. The error is that of Open; it is ErrPurpose, too, when the token is genuine and holds no data key.
func (k *Keyring) Unwrap(purpose, token string) (DataKey, error) {
	plaintext, err := k.Open(purpose, token)
	if err != nil {
		return DataKey{}, err
	}
	key := new(fernet.Key)
	if copy(key[:], plaintext); len(plaintext) != len(key) {
		return DataKey{}, fmt.Errorf("unwrap %q: a data key has %d bytes, this has %d: %w", purpose, len(key), len(plaintext), ErrPurpose)
	}
	return DataKey{hide(key)}, nil
}

// Seal encrypts plaintext for one purpose (workspace, field and id), as Keyring.Seal does.
func (d DataKey) Seal(purpose string, plaintext []byte) (token string, err error) {
	if d.key == nil {
		return "", fmt.Errorf("seal %q: %w", purpose, errNoDataKey)
	}
	return seal(d.key, purpose, plaintext, time.Now())
}

// Open decrypts a token sealed for this purpose. The error is ErrSealed or ErrPurpose, as for Keyring.Open.
func (d DataKey) Open(purpose, token string) ([]byte, error) {
	if d.key == nil {
		return nil, fmt.Errorf("open %q: %w", purpose, errNoDataKey)
	}
	return open([]secret{d.key}, purpose, token)
}

// MAC returns HMAC-SHA-256 (32 bytes) of the message under a key that is derived from the data key for this purpose. It stays
// the same when the Keyring rotates. It panics on the zero DataKey, because everybody could compute its MAC.
func (d DataKey) MAC(purpose string, message []byte) []byte {
	if d.key == nil {
		panic(errNoDataKey)
	}
	return mac(d.key, purpose, message)
}

// CheckMAC tells in constant time whether mac is MAC(purpose, message).
func (d DataKey) CheckMAC(purpose string, message, mac []byte) bool {
	if d.key == nil {
		return false
	}
	return checkMAC([]secret{d.key}, purpose, message, mac)
}
