package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// ErrMalformed says that a stored string is no Argon2id hash, or that its cost is out of bounds.
var ErrMalformed = errors.New("stored password hash is malformed")

// The sizes of a hash that Hash makes: 128 bits of salt and a 256-bit hash, as RFC 9106 recommends.
const (
	saltSize = 16
	hashSize = 32
)

// The sizes that parse accepts from other programs, in bytes.
const (
	minSalt, maxSalt = 8, 64
	minHash, maxHash = 16, 64
)

// record is a parsed PHC string
// (https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md).
type record struct {
	params Params
	salt   []byte
	hash   []byte
}

var phcBase64 = base64.RawStdEncoding.Strict()

func (r record) String() string {
	return fmt.Sprintf("$argon2id$v=%d$%s$%s$%s", argon2.Version, r.params,
		phcBase64.EncodeToString(r.salt), phcBase64.EncodeToString(r.hash))
}

// parse parses a PHC string. Each record has only one spelling: a string is refused that String would not write (leading zeros, signs, line
// breaks). The error says what is wrong, and shows none of the string.
func parse(phc string) (record, error) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 {
		return record{}, fmt.Errorf("%w: %d fields instead of 5", ErrMalformed, len(parts)-1)
	}
	var r record
	var err error
	if r.params, err = parseParams(parts[3]); err != nil {
		return record{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	salt, errSalt := phcBase64.DecodeString(parts[4])
	hash, errHash := phcBase64.DecodeString(parts[5])
	if errSalt != nil || errHash != nil {
		return record{}, fmt.Errorf("%w: salt or hash is not base64", ErrMalformed)
	}
	if len(salt) < minSalt || len(salt) > maxSalt || len(hash) < minHash || len(hash) > maxHash {
		return record{}, fmt.Errorf("%w: salt has %d bytes and hash %d", ErrMalformed, len(salt), len(hash))
	}
	r.salt, r.hash = salt, hash
	if r.String() != phc {
		return record{}, fmt.Errorf("%w: not argon2id version %d in its one spelling", ErrMalformed, argon2.Version)
	}
	return r, nil
}

// parseParams reads "m=65536,t=3,p=1". It accepts costs below the floor, because such a hash is verified once and then replaced.
func parseParams(text string) (Params, error) {
	var n [3]uint64
	fields := strings.Split(text, ",")
	if len(fields) != len(n) {
		return Params{}, fmt.Errorf("%d parameters instead of 3", len(fields))
	}
	for i, name := range []string{"m=", "t=", "p="} {
		value, ok := strings.CutPrefix(fields[i], name)
		var err error
		if n[i], err = strconv.ParseUint(value, 10, 32); !ok || err != nil {
			return Params{}, fmt.Errorf("parameter %d is not %s and a number", i+1, name)
		}
	}
	if n[2] > uint64(ceiling.Threads) { // before it is cut to 8 bits
		return Params{}, fmt.Errorf("threads must be at most %d, not %d", ceiling.Threads, n[2])
	}
	p := Params{Memory: uint32(n[0]), Time: uint32(n[1]), Threads: uint8(n[2])}
	return p, p.check(Params{Memory: 8 * uint32(p.Threads), Time: 1, Threads: 1}) // RFC 9106: 8 KiB a lane at least
}
