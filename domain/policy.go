package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// AllRoles stands for every role, also for roles that are made later.
const AllRoles = "all"

// Policy is the rules for log-ins of a workspace's members. Each workspace has one policy, with the id of zeros. Before its first event
// the policy requires nothing.
type Policy struct {
	ID             uuid.UUID `json:"id"`
	TwoFactorRoles []string  `json:"two_factor_roles"` // ids of roles, or AllRoles alone
	UpdatedAt      time.Time `json:"updated_at"`
	Version        int       `json:"version"` // of the roster, at the policy's last change
	Position       int64     `json:"position"`
}

// PolicyTwoFactorRequired lists all roles that require two factors. The event is in the roster because it changes permissions: a command
// that was decided under the earlier policy is decided again.
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

// RequiresTwoFactor tells whether a role requires two factors.
func (p Policy) RequiresTwoFactor(role string) bool {
	return slices.Contains(p.TwoFactorRoles, role) || slices.Contains(p.TwoFactorRoles, AllRoles)
}

// Change requires two factors of exactly these roles; nil changes nothing. The caller must have two factors on. An active admin must be
// able to act afterwards: enrolled counts the active admins with two factors. own are the ids of the workspace's own roles.
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
		return nil, Refuse(Conflict, "last_admin", "no active admin has two factors on, so no admin could act: an admin turns them on first")
	}
	return []Event{PolicyTwoFactorRequired{Roles: sorted}}, nil
}

// without removes a deleted role from the policy.
func (p Policy) without(role string) []Event {
	if !slices.Contains(p.TwoFactorRoles, role) {
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(p.TwoFactorRoles), func(other string) bool { return other == role })
	return []Event{PolicyTwoFactorRequired{Roles: others}}
}
