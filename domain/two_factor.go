package domain

import "github.com/google/uuid"

// The events of a member's second factor: codes from a device, and ten recovery codes for a lost device. No event holds a secret. The
// events that turn two factors on or off are in the roster, because a policy can make permissions depend on them. The other events are
// in the stream of the account.
type (
	// MemberTwoFactorEnabled makes each later log-in require a code.
	MemberTwoFactorEnabled struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberTwoFactorDisabled turns two factors off. The member has shown both factors.
	MemberTwoFactorDisabled struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberTwoFactorReset turns two factors off for a member who has lost the device. The actor is an admin or the operator of Kluis.
	MemberTwoFactorReset struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberRecoveryCodeUsed is the use of a recovery code in place of a code from the device. A recovery code works once.
	MemberRecoveryCodeUsed struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberRecoveryCodesRenewed replaces all recovery codes by ten new ones.
	MemberRecoveryCodesRenewed struct {
		MemberID uuid.UUID `json:"member_id"`
	}
)

// Member gives the id of the member whom the event is about.
func (e MemberTwoFactorEnabled) Member() uuid.UUID  { return e.MemberID }
func (e MemberTwoFactorDisabled) Member() uuid.UUID { return e.MemberID }
func (e MemberTwoFactorReset) Member() uuid.UUID    { return e.MemberID }

func init() {
	register[MemberTwoFactorEnabled]("member.two_factor_enabled")
	register[MemberTwoFactorDisabled]("member.two_factor_disabled")
	register[MemberTwoFactorReset]("member.two_factor_reset")
	register[MemberRecoveryCodeUsed]("member.recovery_code_used")
	register[MemberRecoveryCodesRenewed]("member.recovery_codes_renewed")
}

// TwoFactor says whether a member has two factors and whether the policy requires them.
type TwoFactor struct {
	Enabled  bool // a log-in requires a code
	Required bool // the policy requires two factors of the member's role
}

// MustEnrol tells whether the member must turn on two factors before anything else.
func (f TwoFactor) MustEnrol() bool { return f.Required && !f.Enabled }

// EnrolFirst refuses a request of a member who must enrol first.
func EnrolFirst() *Error {
	return Refuse(Forbidden, "two_factor_required", "turn on two factors first: POST /api/me/two-factor")
}

// Begin allows a new secret. Log-ins require its codes once the member has confirmed it.
func (f TwoFactor) Begin() error {
	if f.Enabled {
		return Refuse(Conflict, "two_factor_enabled", "two factors are on: turn them off first")
	}
	return nil
}

// Use allows an operation that requires a code.
func (f TwoFactor) Use() error {
	if !f.Enabled {
		return Refuse(Conflict, "two_factor_disabled", "two factors are not on")
	}
	return nil
}

// Disable allows the member to turn two factors off.
func (f TwoFactor) Disable() error {
	if err := f.Use(); err != nil {
		return err
	}
	if f.Required {
		return Refuse(Conflict, "two_factor_required", "the workspace requires two factors of your role")
	}
	return nil
}

// ResetTwoFactor turns the two factors of the member off. by must be another member: a member's own two factors are turned off with a
// password and a code, which a thief of an open session lacks. required tells whether the policy requires two factors of the member's
// role. otherAdmins as for ChangeRole.
func (m Member) ResetTwoFactor(by uuid.UUID, required bool, otherAdmins int) ([]Event, error) {
	if m.ID == by {
		return nil, Refuse(Conflict, "own_two_factor", "turn off your own two factors with POST /api/me/two-factor/disable")
	}
	if !m.TwoFactor {
		return nil, nil
	}
	if required {
		if err := m.mayStepDown(otherAdmins); err != nil {
			return nil, err
		}
	}
	return []Event{MemberTwoFactorReset{MemberID: m.ID}}, nil
}
