package eventstore

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Proof is what an append relies on besides streams: that whoever shows a session or a token still may, in the epoch of the log in which
// that was found. Postgres finds out in the transaction of the append: see Prove.
type Proof struct {
	Shown uuid.UUID // the id of what is shown
	Epoch int
}

// UnprovenError says that nothing was stored, because the proof of an append does not hold.
type UnprovenError struct{}

func (*UnprovenError) Error() string { return "whoever asked may no longer" }

// proofs are the statements that store an append only as long as its proofs hold.
type proofs struct{ one, many, look string }

// Prove says in SQL when what is shown is good, by its id @. It is called before the store is used; until then no append has a Proof.
func (s *Store) Prove(good string) *Store {
	of := func(id string) string { return "(" + strings.ReplaceAll(good, "@", id) + ")" }
	s.proofs = &proofs{
		one:  moveOne + " and " + of("$11") + storeOne,
		many: moveMany + " and not exists (select from unnest($19::uuid[]) as shown (id) where not " + of("shown.id") + ")" + storeMany,
		look: "select shown.id from unnest($1::uuid[]) as shown (id) where " + of("shown.id"),
	}
	return s
}

// of is what is shown for those that were accepted.
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

// lookFor is the query for which of what a batch shows is good; none when it shows nothing.
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
