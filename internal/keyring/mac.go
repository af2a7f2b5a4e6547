package keyring

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
)

// MAC returns HMAC-SHA-256 (32 bytes) of the message, under a key for this purpose that HKDF (RFC 5869) derives from the first key. It changes
// with the first key. What must be found again after a rotation, as an e-mail address, takes the MAC of a DataKey.
func (k *Keyring) MAC(purpose string, message []byte) []byte {
	k.reload(LookEvery)
	return mac(k.keys()[0], purpose, message)
}

// CheckMAC tells whether mac was made for this purpose and message under any of the keys. Its time depends neither on the MAC nor on which key
// matches.
func (k *Keyring) CheckMAC(purpose string, message, mac []byte) (matched bool) {
	k.try(func(keys []secret) bool {
		matched = checkMAC(keys, purpose, message, mac)
		return matched
	})
	return matched
}

func mac(key secret, purpose string, message []byte) []byte {
	derived, err := hkdf.Key(sha256.New, key()[:], nil, "kluis/mac/v1\x00"+purpose, sha256.Size)
	if err != nil {
		panic(fmt.Sprintf("keyring: HKDF of %d bytes: %v", sha256.Size, err)) // only for outputs over 8160 bytes
	}
	h := hmac.New(sha256.New, derived)
	h.Write(message)
	return h.Sum(nil)
}

func checkMAC(keys []secret, purpose string, message, got []byte) bool {
	matched := false
	for _, key := range keys {
		same := hmac.Equal(mac(key, purpose, message), got)
		matched = matched || same
	}
	return matched
}
