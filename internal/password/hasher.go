package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// ErrBusy says that all slots are taken and the queue is full. An HTTP server answers 503 with Retry-After.
var ErrBusy = errors.New("too many passwords are being hashed")

// Hasher hashes with one set of parameters, a limited number at a time. It is safe for concurrent use.
type Hasher struct {
	params Params
	queue  *queue
	none   string // the hash that VerifyNone compares with

	// derive is argon2.IDKey; tests count with it.
	derive func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte
}

// NewHasher returns a hasher that runs at most slots hashes at once (one per core is right), and lets at most queue more wait, by turns of their
// networks. So at most slots x p.Memory is in use. With memory that the garbage collector has yet to free, the heap grew by two and a half
// times that under a flood. Parameters below Floor or above the ceiling are refused.
func NewHasher(p Params, slots, queue int) (*Hasher, error) {
	if err := p.check(Floor); err != nil {
		return nil, err
	}
	if slots < 1 || queue < 0 {
		return nil, fmt.Errorf("password hasher: needs at least 1 slot and a queue of 0 or more, not %d and %d", slots, queue)
	}
	none := record{params: p, salt: make([]byte, saltSize), hash: make([]byte, hashSize)}
	return &Hasher{
		params: p,
		queue:  newQueue(slots, queue),
		none:   none.String(),
		derive: argon2.IDKey,
	}, nil
}

// Load returns how many hashes run at the moment, and how many wait.
func (h *Hasher) Load() (running, waiting int) { return h.queue.load() }

// Hash returns the PHC string to store. network is any name of where the request came from. Hash does not Check: it refuses only a
// password that is no text or too long. The error may be ErrBusy as well, or that of the context when it ended before there was a slot.
func (h *Hasher) Hash(ctx context.Context, network, password string) (phc string, err error) {
	text, err := normalise(password)
	if err != nil {
		return "", err
	}
	r := record{params: h.params, salt: make([]byte, saltSize), hash: make([]byte, hashSize)}
	rand.Read(r.salt) // never fails, see crypto/rand
	if r.hash, err = h.run(ctx, network, text, r); err != nil {
		return "", err
	}
	return r.String(), nil
}

// Verify tells whether the password is the one behind a stored PHC string, in a time that depends only on the parameters of the string.
// rehash tells that it is, and that its hash was made with other parameters than this hasher's: the caller should store a new one. The
// error is ErrMalformed, ErrBusy, or that of the context.
func (h *Hasher) Verify(ctx context.Context, network, phc, password string) (ok, rehash bool, err error) {
	r, err := parse(phc)
	if err != nil {
		return false, false, err
	}
	text, err := normalise(password)
	if err != nil {
		return false, false, nil //nolint:nilerr // Hash refuses such a password, so nobody has it
	}
	hash, err := h.run(ctx, network, text, r)
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(hash, r.hash) == 1
	return ok, ok && !h.made(r), nil
}

// VerifyNone does the work of Verify for an account that does not exist or has no password, so that the answer takes as long, and fails as
// often with ErrBusy (OWASP Authentication Cheat Sheet).
func (h *Hasher) VerifyNone(ctx context.Context, network, password string) error {
	_, _, err := h.Verify(ctx, network, h.none, password)
	return err
}

// made tells whether a record has the parameters and sizes that Hash would give it.
func (h *Hasher) made(r record) bool {
	return r.params == h.params && len(r.salt) == saltSize && len(r.hash) == hashSize
}

// run hashes in a slot. Argon2 cannot be interrupted. So a hash that has begun is finished in the caller's goroutine, whatever the context says:
// thus every slot becomes free again, and no hash goes on without a caller.
func (h *Hasher) run(ctx context.Context, network, text string, r record) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := h.queue.enter(ctx, network); err != nil {
		return nil, err
	}
	defer h.queue.exit()
	return h.derive([]byte(text), r.salt, r.params.Time, r.params.Memory, r.params.Threads, uint32(len(r.hash))), nil
}
