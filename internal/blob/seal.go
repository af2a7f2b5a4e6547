package blob

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// A blob is encrypted in the format of age (https://age-encryption.org/v1): ChaCha20-Poly1305 in chunks of 64 KiB (STREAM). So any part can be read
// alone, no chunk can be moved, and a blob that was cut off shows. The key of a blob is derived (HKDF) from 16 random bytes. The header
// of the blob has them, sealed by a Sealer.

// Sealer seals the key of one blob. The identity of the blob must be part of what is sealed: then a blob under another's key does not open.
type Sealer struct {
	Seal func(key string) (sealed string, err error)
	Open func(sealed string) (key string, err error)
}

// stanza is the type of the line of the header with the sealed key.
const stanza = "kluis/blob/v1"

// Wrap implements [age.Recipient].
func (s Sealer) Wrap(key []byte) ([]*age.Stanza, error) {
	sealed, err := s.Seal(string(key))
	if err != nil {
		return nil, fmt.Errorf("seal the key of a blob: %w", err)
	}
	return []*age.Stanza{{Type: stanza, Body: []byte(sealed)}}, nil
}

// Unwrap implements [age.Identity].
func (s Sealer) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanza {
		return nil, errors.New("the blob was not made by Kluis")
	}
	key, err := s.Open(string(stanzas[0].Body))
	if err != nil {
		return nil, fmt.Errorf("open the key of a blob: %w", err)
	}
	return []byte(key), nil
}

// Encrypt returns a writer that encrypts what is written to it, in constant memory. The blob is whole once that writer is closed.
func (s Sealer) Encrypt(to io.Writer) (io.WriteCloser, error) { return age.Encrypt(to, s) }

// Decrypt returns the plain bytes of a blob and their number. A blob that was cut off fails at once; a chunk that was changed fails when it is
// read.
func (s Sealer) Decrypt(b Blob) (io.ReaderAt, int64, error) {
	plain, size, err := age.DecryptReaderAt(b, b.Size(), s)
	if err != nil {
		return nil, 0, fmt.Errorf("open a blob: %w", err)
	}
	return plain, size, nil
}
