package projections

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Claim assumes that the caller with a token is still the actor whom this process found at the token's last use. It saves the round trip of
// looking the actor up first:
//
//  1. The request is answered for the actor as remembered. Its first read checks, in the same snapshot and the same round trip as its
//     own query, whether the actor has changed.
//  2. Permissions are in the roster. While the roster is at the remembered version, in the same epoch of the log, only the session or
//     the token can have ended. Once a minute the whole actor is read again, by the query that also notes the last use.
//  3. When nothing has changed, the claim holds, and the answers from that snapshot on are right.
//  4. When the actor has changed, or when the read models lack the end of the roster, the read fails with errClaim. The claim is
//     forgotten, and the request begins again and looks the actor up first.
//
// The append of a command that reads nothing proves the claim instead, in its own transaction (see Proof and Settle).
type Claim struct {
	Actor

	key    [32]byte // the digest of the token
	known  *known
	lately bool // the whole actor was read less than a minute ago
	good   bool // the session or token has not ended
	rows   []actorRow
	held   bool
	sent   bool
}

// known is the actor that was found for a token. It is never changed.
type known struct {
	actor Actor
	row   actorRow
	by    shownBy
	read  time.Time // when the whole actor was read
}

// errClaim ends a read in which the claim did not hold.
var errClaim = errors.New("the caller is no longer the actor that this process remembers")

// Held tells whether a read or an append has proven the claim. Until then no answer may be sent and no event stored.
func (c *Claim) Held() bool { return c.held }

// Sent tells whether an event may have been stored although the claim is not proven. Then the request must not begin again.
func (c *Claim) Sent() bool { return c.sent }

type claimKey struct{}

// Claiming gives a context in which the first read proves the claim.
func Claiming(ctx context.Context, c *Claim) context.Context {
	return context.WithValue(ctx, claimKey{}, c)
}

// ClaimIn gives the claim of ctx that is not proven yet; nil for none.
func ClaimIn(ctx context.Context) *Claim {
	if c, ok := ctx.Value(claimKey{}).(*Claim); ok && !c.held {
		return c
	}
	return nil
}

// Provable tells whether an append alone can prove the claim.
func (c *Claim) Provable() bool { return c != nil && c.lately }

// Proof gives the proof for such an append, which also guards the roster; nil when there is no claim.
func (c *Claim) Proof() *eventstore.Proof {
	if c == nil {
		return nil
	}
	return &eventstore.Proof{Shown: c.known.credentialID(), Epoch: c.Epoch}
}

// Settle turns the outcome of an append with the proof into the outcome of the claim.
func (p *Projections) Settle(c *Claim, err error) error {
	switch {
	case c == nil:
	case err == nil:
		c.held = true
	case errors.As(err, new(*eventstore.MovedError)), errors.As(err, new(*eventstore.UnprovenError)):
		p.knowns.forget(c.key)
		return errClaim
	default:
		c.sent = true
	}
	return err
}

// statements gives the statements for the mark and for the check of the claim.
func (c *Claim) statements(m *Mark) []pg.Statement {
	switch {
	case c == nil:
		return []pg.Statement{m.statement()}
	case c.lately:
		return []pg.Statement{m.statement(), pg.Exec(selectGood, c.known.credentialID()).Scan(&c.good).Light()} //sqlcheck:allow made of a constant
	}
	return []pg.Statement{m.statement(), pg.Rows(&c.rows, c.known.by.sql, c.known.by.args...).Light()} //sqlcheck:allow constants of shownBy
}

var selectGood = `select ` + strings.ReplaceAll(Good, "@", "$1")

// judge compares the actor that the read has found with the remembered one. At intervals it also notes the last use of the token.
func (p *Projections) judge(ctx context.Context, c *Claim, mark Mark) error {
	if c == nil {
		return nil
	}
	moved := mark.RosterHead != c.Roster || mark.Roster != c.Roster || mark.Epoch != c.Epoch
	if !c.lately {
		c.good = len(c.rows) == 1 && c.rows[0].equal(c.known.row)
	}
	if moved || !c.good {
		p.knowns.forget(c.key)
		return errClaim
	}
	c.held = true
	if c.lately {
		return nil
	}
	p.knowns.keep(c.key, &known{c.known.actor, c.known.row, c.known.by, time.Now()})
	if c.rows[0].Touch {
		return p.touch(ctx, c.Workspace, c.known.by.touch, c.known.credentialID())
	}
	return nil
}

// credentialID gives the id of the session or of the API token.
func (k *known) credentialID() uuid.UUID { return k.by.id(k.actor) }

// equal tells whether two rows make the same actor. The time of the last use does not count.
func (r actorRow) equal(other actorRow) bool {
	r.Touch = other.Touch
	return reflect.DeepEqual(r, other)
}

// Recognise gives the claim of a token that this process remembers; nil for any other token, whose actor must be looked up.
func (p *Projections) Recognise(w pg.Workspace, digest [32]byte) *Claim {
	found, ok := p.knowns.get(digest)
	if !ok || found.actor.Workspace != w {
		return nil
	}
	return &Claim{Actor: found.actor, key: digest, known: found, lately: time.Since(found.read) < touchAfter}
}

// knowns are the tokens that a process has seen lately, by digest.
type knowns struct {
	mu sync.Mutex
	of map[[32]byte]*known
}

// mostKnown bounds the tokens that a process remembers: some 5 MB.
const mostKnown = 10_000

func (k *knowns) get(digest [32]byte) (*known, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.of[digest]
	return found, ok
}

func (k *knowns) forget(digest [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, digest)
}

// keep remembers one more token. When there are too many, an arbitrary other one is forgotten.
func (k *knowns) keep(digest [32]byte, found *known) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil {
		k.of = map[[32]byte]*known{}
	}
	for other := range k.of {
		if len(k.of) < mostKnown {
			break
		}
		delete(k.of, other)
	}
	k.of[digest] = found
}
