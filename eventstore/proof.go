package eventstore

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Proof makes an append depend on the session or token that the caller showed: it must still be good, in the epoch of the log in which it
// was checked first. Postgres checks this in the transaction of the append: see Prove.
type Proof struct {
	Shown uuid.UUID // the id of the session or token
	Epoch int
}

// UnprovenError says that nothing was stored, because the proof of an append does not hold.
type UnprovenError struct{}

func (*UnprovenError) Error() string { return "the session or token of the caller is no longer good" }

// proofs are the statements that store an append only as long as its proofs hold.
type proofs struct{ one, many, look string }

// Prove sets the SQL condition under which a session or token is good; @ stands for its id. Call Prove before the store is used.
func (s *Store) Prove(good string) *Store {
	of := func(id string) string { return "(" + strings.ReplaceAll(good, "@", id) + ")" }
	s.proofs = &proofs{
		one:  moveOne + " and " + of("$11") + storeOne,
		many: moveMany + " and not exists (select from unnest($19::uuid[]) as shown (id) where not " + of("shown.id") + ")" + storeMany,
		look: "select shown.id from unnest($1::uuid[]) as shown (id) where " + of("shown.id"),
	}
	return s
}

// of gives the ids that the accepted requests show.
func (p *proofs) of(verdicts []verdict) (shown []uuid.UUID) {
	if p == nil {
		return nil
	}
	for _, v := range verdicts {
		if proof := v.request.append.Proof; proof != nil && v.fresh != nil && !slices.Contains(shown, proof.Shown) {
			shown = append(shown, proof.Shown)
		}
	}
	return shown
}

// lookFor is the query for the good ones among the ids that a batch shows; none when it shows none.
func (p *proofs) lookFor(good *[]uuid.UUID, batch []*request) []pg.Statement {
	var shown []uuid.UUID
	for _, r := range batch {
		if r.append.Proof != nil {
			shown = append(shown, r.append.Proof.Shown)
		}
	}
	if shown == nil {
		return nil
	}
	return []pg.Statement{pg.Column(good, p.look, shown)} //sqlcheck:allow made of a constant by Prove
}
