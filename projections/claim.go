package projections

import (
	"context"
	"errors"
	"reflect"
	"sync"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Claim is that whoever shows a token still is, and may, what this process found when the token was shown last. It saves the
// round trip in which that is looked up before anything else is:
//
//  1. The request is answered for the actor of then. The first Look on its way reads anew who shows the token, by the same
//     query, in the same snapshot and the same round trip as what is asked for.
//  2. What was found is what it was: the claim holds, and so does what was answered from that snapshot on.
//  3. Anything else was found (a session that ended, another role, another policy, a roster that moved or that the read
//     models lack): the Look is errClaim, the claim is forgotten, and whoever answers begins once more in two steps.
//
// An answer for which no Look made the claim good is nobody's: see Held.
type Claim struct {
	Actor

	key   [32]byte // of the known one, which is what was found then
	known known
	rows  []actorRow
	held  bool
}

// known is what a token was found to be.
type known struct {
	actor Actor
	row   actorRow
	by    shownBy
}

// errClaim ends a look in which the claim did not hold.
var errClaim = errors.New("who asks is not what this process knew")

// Held tells whether a Look has made the claim good: before that nothing may be told, and nothing stored.
func (c *Claim) Held() bool { return c.held }

type claimKey struct{}

// Claiming gives a context in which the first Look makes the claim good.
func Claiming(ctx context.Context, c *Claim) context.Context {
	return context.WithValue(ctx, claimKey{}, c)
}

// claimIn is the claim of ctx that no Look has made good yet; nil for none.
func claimIn(ctx context.Context) *Claim {
	if c, ok := ctx.Value(claimKey{}).(*Claim); ok && !c.held {
		return c
	}
	return nil
}

// Claimed tells whether the next Look also proves that who asks may act.
func Claimed(ctx context.Context) bool { return claimIn(ctx) != nil }

// query is what the Look asks besides.
func (c *Claim) query() []pg.Statement {
	if c == nil {
		return nil
	}
	return []pg.Statement{pg.Rows(&c.rows, c.known.by.sql, c.known.by.args...)}
}

// judge says whether what the Look found is what was known. The last use of the token is noted now and then.
func (p *Projections) judge(ctx context.Context, c *Claim, mark Mark) error {
	if c == nil {
		return nil
	}
	if len(c.rows) != 1 || mark.Roster != mark.RosterHead || mark.Roster != c.known.actor.Roster || !c.rows[0].same(c.known.row) {
		p.knowns.forget(c.key)
		return errClaim
	}
	c.held = true
	if c.rows[0].Touch {
		return p.touch(ctx, c.Workspace, c.known.by.touch, c.known.by.id(c.known.actor))
	}
	return nil
}

// same tells whether two rows make the same actor.
func (r actorRow) same(other actorRow) bool {
	r.Touch = other.Touch
	return reflect.DeepEqual(r, other)
}

// Recognise gives the claim of a token that this process has seen lately; nil when it has to be looked up.
func (p *Projections) Recognise(w pg.Workspace, digest [32]byte) *Claim {
	found, ok := p.knowns.get(digest)
	if !ok || found.actor.Workspace != w {
		return nil
	}
	return &Claim{Actor: found.actor, key: digest, known: found}
}

// knowns are the tokens that a process has seen lately, by digest.
type knowns struct {
	mu sync.Mutex
	of map[[32]byte]known
}

// mostKnown bounds them: some 5 MB.
const mostKnown = 10_000

func (k *knowns) get(digest [32]byte) (known, bool) {
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

// keep notes one more. When there are too many, any other goes.
func (k *knowns) keep(digest [32]byte, found known) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil {
		k.of = map[[32]byte]known{}
	}
	for other := range k.of {
		if len(k.of) < mostKnown {
			break
		}
		delete(k.of, other)
	}
	k.of[digest] = found
}
