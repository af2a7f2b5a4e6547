package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/fernet/fernet-go"
)

var (
	// ErrSealed says that a token does not open: it is forged, damaged or cut off, or its key is not in the ring.
	ErrSealed = errors.New("sealed value does not open")

	// ErrPurpose says that a token is genuine, and was sealed for another purpose: it was moved.
	ErrPurpose = errors.New("sealed value is for something else")
)

// The parts of a Fernet token, in bytes: version, timestamp, IV, ciphertext (whole AES blocks, at least one), HMAC.
const (
	fernetVersion  = 0x80
	fernetOverhead = 1 + 8 + aes.BlockSize + sha256.Size
)

// frameVersion is the first byte of every sealed plaintext, so that the layout may change later.
const frameVersion = 1

// frame puts the purpose in front of the plaintext: version byte, length of the purpose (16 bits, big-endian),
// purpose, plaintext. The length keeps ("a", "bc") and ("ab", "c") apart.
func frame(purpose string, plaintext []byte) ([]byte, error) {
	if purpose == "" || len(purpose) > math.MaxUint16 {
		return nil, fmt.Errorf("seal: a purpose has 1 to %d bytes, this one has %d", math.MaxUint16, len(purpose))
	}
	out := make([]byte, 0, 3+len(purpose)+len(plaintext))
	out = append(out, frameVersion)
	out = binary.BigEndian.AppendUint16(out, uint16(len(purpose)))
	out = append(out, purpose...)
	return append(out, plaintext...), nil
}

// unframe returns the plaintext when the frame is for this purpose. The error never shows the purpose that was found, because it was
// sealed.
func unframe(purpose string, framed []byte) ([]byte, error) {
	want, err := frame(purpose, nil)
	if err != nil {
		return nil, err
	}
	plaintext, ok := bytes.CutPrefix(framed, want)
	if !ok {
		return nil, fmt.Errorf("open %q: %w", purpose, ErrPurpose)
	}
	return plaintext, nil
}

// seal encrypts with one key. at is the time in the token, which Fernet leaves readable.
func seal(key secret, purpose string, plaintext []byte, at time.Time) (string, error) {
	framed, err := frame(purpose, plaintext)
	if err != nil {
		return "", err
	}
	return sealFramed(key, framed, at)
}

func sealFramed(key secret, framed []byte, at time.Time) (string, error) {
	token, err := fernet.EncryptAndSignAtTime(framed, key(), at)
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	return string(token), nil
}

// open decrypts a token with the key that has made it, and checks its purpose.
func open(keys []secret, purpose, token string) ([]byte, error) {
	framed, _, err := decrypt(keys, token)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", purpose, err)
	}
	return unframe(purpose, framed)
}

// decrypt returns what a token holds, and the index of the key that has made it.
func decrypt(keys []secret, token string) (framed []byte, key int, err error) {
	if _, err := decode(token); err != nil {
		return nil, 0, err
	}
	for i, key := range keys {
		if framed := fernet.VerifyAndDecrypt([]byte(token), 0, []*fernet.Key{key()}); framed != nil {
			return framed, i, nil
		}
	}
	return nil, 0, ErrSealed
}

// decode returns the bytes of a token whose outer form is right. fernet-go accepts more: it goes on after an error of base64 with what it has, skips
// line breaks, and does not check the length first. So one token would have many spellings; here it has one.
func decode(token string) ([]byte, error) {
	raw, err := base64.URLEncoding.Strict().DecodeString(token)
	switch {
	case err != nil,
		len(token) != base64.URLEncoding.EncodedLen(len(raw)), // line breaks
		len(raw) < fernetOverhead+aes.BlockSize,
		(len(raw)-fernetOverhead)%aes.BlockSize != 0,
		raw[0] != fernetVersion:
		return nil, ErrSealed
	}
	return raw, nil
}

// sealedAt is the time in a token that decode accepts.
func sealedAt(raw []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(raw[1:9])), 0)
}
