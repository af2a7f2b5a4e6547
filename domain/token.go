package domain

import (
	"time"

	"github.com/google/uuid"
)

// Token is a personal API token. A token acts for its member with its own grants, and never with more than the member has at the moment.
// The secret is not in this state.
type Token struct {
	ID        uuid.UUID  `json:"id"`
	MemberID  uuid.UUID  `json:"member_id"`
	Name      string     `json:"name"`
	Grants    Grants     `json:"grants"`
	ExpiresAt time.Time  `json:"expires_at"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	RevokedAt *time.Time `json:"revoked_at"`
	Version   int        `json:"version"`
	Position  int64      `json:"position"`
}

// TokenStream names the stream of a personal API token.
func TokenStream(id uuid.UUID) string { return "token-" + id.String() }

// The events of a token. The actor of TokenCreated is the token's member.
type (
	TokenCreated struct {
		Name      string    `json:"name"`
		Grants    Grants    `json:"grants"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	TokenRevoked struct{}
)

func init() {
	register[TokenCreated]("token.created")
	register[TokenRevoked]("token.revoked")
}

// Apply folds one event of the token's stream into its state.
func (t *Token) Apply(r Record) {
	switch e := r.Event.(type) {
	case TokenCreated:
		id, _ := StreamID("token", r.Stream)
		*t = Token{ID: id, MemberID: r.Actor, Name: e.Name, Grants: e.Grants, ExpiresAt: e.ExpiresAt, CreatedAt: r.At}
	case TokenRevoked:
		t.RevokedAt = &r.At
	}
	t.UpdatedAt, t.Version, t.Position = r.At, r.Version, r.Position
}

// NewToken makes a token of a member with the grants owner. A request without grants gets all grants of owner. A token expires within a
// year.
func NewToken(e TokenCreated, owner Grants, now time.Time) (TokenCreated, error) {
	if err := checkText("/name", e.Name, 1, 200); err != nil {
		return e, err
	}
	e.ExpiresAt = e.ExpiresAt.UTC().Truncate(time.Second)
	if !e.ExpiresAt.After(now) || e.ExpiresAt.After(now.AddDate(1, 0, 0)) {
		return e, InvalidField("/expires_at", "must be later than now, by a year at most")
	}
	if e.Grants == nil {
		e.Grants = owner.Intersect(owner)
		return e, nil
	}
	grants, err := e.Grants.normal("/grants")
	if err != nil {
		return e, err
	}
	e.Grants = grants
	return e, owner.MayGive(grants)
}

// Revoke ends the token.
func (t Token) Revoke() ([]Event, error) {
	if t.RevokedAt != nil {
		return nil, Missing("token")
	}
	return []Event{TokenRevoked{}}, nil
}
