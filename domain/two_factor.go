package domain

import "github.com/google/uuid"

// The events of a member's second factor: codes from a device, and ten recovery codes for when that is lost. None holds a
// secret: what codes are compared with is no history. That two factors are on, or off, is of the roster: where the policy
// asks them, it changes who may do what. The rest is in the stream of the account.
type (
	// MemberTwoFactorEnabled asks a code of whoever logs in from now on.
	MemberTwoFactorEnabled struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberTwoFactorDisabled is by the member, who showed both factors.
	MemberTwoFactorDisabled struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberTwoFactorReset is by an admin, or by Kluis' operator, for a member who has lost the device.
	MemberTwoFactorReset struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberRecoveryCodeUsed is a recovery code in the place of one from the device. It is dead from then on.
	MemberRecoveryCodeUsed struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberRecoveryCodesRenewed is ten new ones; all from before are dead.
	MemberRecoveryCodesRenewed struct {
		MemberID uuid.UUID `json:"member_id"`
	}
)

// Member gives the member that an event of the roster is about.
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

// TwoFactor is how a member stands to two factors.
type TwoFactor struct {
	Enabled  bool // logging in takes a code
	Required bool // the policy asks it of the member's role
}

// MustEnrol tells whether the member may do nothing yet but turn on two factors.
func (f TwoFactor) MustEnrol() bool { return f.Required && !f.Enabled }

// EnrolFirst refuses what a member may not do who must enrol.
func EnrolFirst() *Error {
	return Refuse(Forbidden, "two_factor_required", "turn on two factors first: POST /api/me/two-factor")
}

// Begin lets the member have a new secret, which is not yet asked for.
func (f TwoFactor) Begin() error {
	if f.Enabled {
		return Refuse(Conflict, "two_factor_enabled", "two factors are on: turn them off first")
	}
	return nil
}

// Use lets the member show a code for something.
func (f TwoFactor) Use() error {
	if !f.Enabled {
		return Refuse(Conflict, "two_factor_disabled", "two factors are not on")
	}
	return nil
}

// Disable lets the member turn two factors off.
func (f TwoFactor) Disable() error {
	if err := f.Use(); err != nil {
		return err
	}
	if f.Required {
		return Refuse(Conflict, "two_factor_required", "the workspace asks two factors of your role")
	}
	return nil
}

// ResetTwoFactor turns the two factors of the member off, for by: somebody else. Those of one's own take a password and a
// code, which whoever found an open session does not have. required is whether the policy asks them of the member's role,
// otherAdmins as for ChangeRole.
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
