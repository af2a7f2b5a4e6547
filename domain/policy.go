package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// AllRoles stands for every role there is or will be.
const AllRoles = "all"

// Policy is what a workspace asks of its members: one for each workspace, whose id is that of zeros. Before its first
// event it asks nothing.
type Policy struct {
	ID             uuid.UUID `json:"id"`
	TwoFactorRoles []string  `json:"two_factor_roles"` // ids of roles, or AllRoles alone
	UpdatedAt      time.Time `json:"updated_at"`
	Version        int       `json:"version"` // of the roster, when the policy last changed
	Position       int64     `json:"position"`
}

// PolicyTwoFactorRequired says of which roles two factors are asked, all of them each time. It is an event of the roster:
// it changes who may do what, so no command is accepted that was decided under the policy of before.
type PolicyTwoFactorRequired struct {
	Roles []string `json:"roles"`
}

func init() { register[PolicyTwoFactorRequired]("policy.two_factor_required") }

// PolicyOf tells whether a record of the roster changes the policy.
func PolicyOf(r Record) (uuid.UUID, bool) {
	_, ok := r.Event.(PolicyTwoFactorRequired)
	return uuid.Nil, ok
}

// Apply folds one event of the policy into its state.
func (p *Policy) Apply(r Record) {
	if e, ok := r.Event.(PolicyTwoFactorRequired); ok {
		p.TwoFactorRoles = append([]string{}, e.Roles...)
	}
	p.UpdatedAt, p.Version, p.Position = r.At, r.Version, r.Position
}

// RequiresTwoFactor tells whether two factors are asked of a role.
func (p Policy) RequiresTwoFactor(role string) bool {
	return slices.Contains(p.TwoFactorRoles, role) || slices.Contains(p.TwoFactorRoles, AllRoles)
}

// Change asks two factors of these roles, and of no others; nil stays. Whoever asks them must have them on, and an active
// admin must be able to act afterwards: enrolled is how many of those have them on. own are the ids of the workspace's own roles.
func (p Policy) Change(twoFactorRoles *[]string, by TwoFactor, enrolled int, own []string) ([]Event, error) {
	if twoFactorRoles == nil {
		return nil, nil
	}
	sorted := append([]string{}, *twoFactorRoles...)
	slices.Sort(sorted)
	for i, role := range sorted {
		if _, known := BuiltInRole(role); !known && role != AllRoles && !slices.Contains(own, role) {
			return nil, InvalidField("/two_factor_roles", "must be names of built-in roles, ids of own ones, or all")
		}
		if i > 0 && role == sorted[i-1] {
			return nil, InvalidField("/two_factor_roles", "%s is there twice", role)
		}
	}
	if len(sorted) > 1 && slices.Contains(sorted, AllRoles) {
		return nil, InvalidField("/two_factor_roles", "all stands alone")
	}
	if slices.Equal(sorted, p.TwoFactorRoles) {
		return nil, nil
	}
	if len(sorted) > 0 && !by.Enabled {
		return nil, EnrolFirst()
	}
	if (Policy{TwoFactorRoles: sorted}).RequiresTwoFactor(Admin) && enrolled == 0 {
		return nil, Refuse(Conflict, "last_admin", "no active admin has two factors on: nobody could act")
	}
	return []Event{PolicyTwoFactorRequired{Roles: sorted}}, nil
}

// without asks nothing of a role that is no more.
func (p Policy) without(role string) []Event {
	if !slices.Contains(p.TwoFactorRoles, role) {
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(p.TwoFactorRoles), func(other string) bool { return other == role })
	return []Event{PolicyTwoFactorRequired{Roles: others}}
}
