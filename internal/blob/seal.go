package blob

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// A blob is encrypted in the format of age (https://age-encryption.org/v1): ChaCha20-Poly1305 in chunks of 64 KiB (STREAM), so that any part can be
// read alone, that no chunk can be moved, and that one cut off shows. The 16 bytes from which the key of a blob is derived (HKDF) are random, and
// stand in the blob's header as somebody sealed them who knows what the blob is.

// Sealer seals the key of one blob. The identity of the blob has to be part of the sealed text: then a blob under another's key does not open.
type Sealer struct {
	Seal func(key string) (sealed string, err error)
	Open func(sealed string) (key string, err error)
}

// stanza is the type of the header's line that holds the sealed key.
const stanza = "kluis/blob/v1"

// Wrap is [age.Recipient].
func (s Sealer) Wrap(key []byte) ([]*age.Stanza, error) {
	sealed, err := s.Seal(string(key))
	if err != nil {
		return nil, fmt.Errorf("seal the key of a blob: %w", err)
	}
	return []*age.Stanza{{Type: stanza, Body: []byte(sealed)}}, nil
}

// Unwrap is [age.Identity].
func (s Sealer) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanza {
		return nil, errors.New("it is no blob of Kluis")
	}
	key, err := s.Open(string(stanzas[0].Body))
	if err != nil {
		return nil, fmt.Errorf("open the key of a blob: %w", err)
	}
	return []byte(key), nil
}

// Encrypt encrypts what is written to the writer that it gives, in constant memory. The blob is whole once that writer is closed.
func (s Sealer) Encrypt(to io.Writer) (io.WriteCloser, error) { return age.Encrypt(to, s) }

// Decrypt gives the plain bytes of a blob and their number. A blob that was cut off is an error at once; a part that was changed is an error when
// it is read.
func (s Sealer) Decrypt(b Blob) (io.ReaderAt, int64, error) {
	plain, size, err := age.DecryptReaderAt(b, b.Size(), s)
	if err != nil {
		return nil, 0, fmt.Errorf("open a blob: %w", err)
	}
	return plain, size, nil
}
