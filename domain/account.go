package domain

import (
	"time"

	"github.com/google/uuid"
)

// AccountStream names the stream of what happens to a member's account. It is apart from the roster, which every
// command guards: a login must not make others decide again.
func AccountStream(member uuid.UUID) string { return "account-" + member.String() }

// The events of an account. None of them holds a secret. They make no state: they are there to be read.
type (
	MemberLoggedIn struct {
		MemberID  uuid.UUID `json:"member_id"`
		SessionID uuid.UUID `json:"session_id"`
	}
	// MemberLoginFailed is there for each password that was compared and is wrong, and for each code of the second factor.
	// What was refused without that, because the account was locked, leaves none. Reason is empty for a wrong password;
	// else whoever it was knows the password.
	MemberLoginFailed struct {
		MemberID uuid.UUID `json:"member_id"`
		Reason   string    `json:"reason,omitempty"` // CodeWrong or CodeMissing
	}
	// MemberLoginRefused is a log-in that was refused without a comparison, because the account was locked, or a wrong code from a mail: as
	// many as there were within a minute, see SecurityStream.
	MemberLoginRefused struct {
		MemberID  uuid.UUID `json:"member_id"`
		Operation string    `json:"operation"` // its id in the schema of the API
		Code      string    `json:"code"`      // of the problem
		Count     int       `json:"count"`
	}
	// MemberLoggedOut is a session that was ended with itself.
	MemberLoggedOut struct {
		MemberID  uuid.UUID `json:"member_id"`
		SessionID uuid.UUID `json:"session_id"`
	}
	// MemberSessionEnded is a session that the member ended from another one. What ends all of them at once, such as a new password, says
	// so by itself.
	MemberSessionEnded struct {
		MemberID  uuid.UUID `json:"member_id"`
		SessionID uuid.UUID `json:"session_id"`
	}
	// MemberLocked keeps out of the account, until an instant, whoever comes from where too many wrong passwords or codes came
	// from: strangers, a network, a device, or sessions.
	MemberLocked struct {
		MemberID uuid.UUID `json:"member_id"`
		Until    time.Time `json:"until"`
	}
	// MemberUnlocked ends a lock before its time: the actor is an admin, or the member with a new password.
	MemberUnlocked struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberPasswordReset is a new password by way of a code from a mail.
	MemberPasswordReset struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberDataExported gives somebody all that there is about the member: the actor is the member, or an admin.
	MemberDataExported struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberPasswordChanged is a new password by somebody who knew the old one.
	MemberPasswordChanged struct {
		MemberID uuid.UUID `json:"member_id"`
	}
)

// Why a login failed behind a right password, where two factors are on.
const (
	CodeWrong   = "code_wrong"
	CodeMissing = "code_missing"
)

func init() {
	register[MemberLoggedIn]("member.logged_in")
	register[MemberLoginFailed]("member.login_failed")
	register[MemberLoginRefused]("member.login_refused")
	register[MemberLoggedOut]("member.logged_out")
	register[MemberSessionEnded]("member.session_ended")
	register[MemberLocked]("member.locked")
	register[MemberUnlocked]("member.unlocked")
	register[MemberPasswordReset]("member.password_reset")
	register[MemberDataExported]("member.data_exported")
	register[MemberPasswordChanged]("member.password_changed")
}
