package domain

import (
	"time"

	"github.com/google/uuid"
)

// AccountStream names the stream of a member's account. The account is apart from the roster, which every command guards: a log-in must
// not make other commands decide again.
func AccountStream(member uuid.UUID) string { return "account-" + member.String() }

// The events of an account. No event holds a secret. No state is folded from these events: auditors read them.
type (
	MemberLoggedIn struct {
		MemberID  uuid.UUID `json:"member_id"`
		SessionID uuid.UUID `json:"session_id"`
	}
	// MemberLoginFailed is a wrong password that was compared, or a wrong or missing code of the second factor. A log-in to a locked
	// account is refused without a comparison and is a MemberLoginRefused instead. Reason is empty for a wrong password. With any other
	// Reason the password was right.
	MemberLoginFailed struct {
		MemberID uuid.UUID `json:"member_id"`
		Reason   string    `json:"reason,omitempty"` // CodeWrong or CodeMissing
	}
	// MemberLoginRefused is a log-in that was refused without a comparison, because the account was locked, or a wrong code from a mail.
	// Count is how many there were within a minute: see SecurityStream.
	MemberLoginRefused struct {
		MemberID  uuid.UUID `json:"member_id"`
		Operation string    `json:"operation"` // its id in the schema of the API
		Code      string    `json:"code"`      // of the problem
		Count     int       `json:"count"`
	}
	// MemberLoggedOut is a session that the member ended in that same session.
	MemberLoggedOut struct {
		MemberID  uuid.UUID `json:"member_id"`
		SessionID uuid.UUID `json:"session_id"`
	}
	// MemberSessionEnded is a session that the member ended from another session. A new password ends all sessions at once and has an event
	// of its own.
	MemberSessionEnded struct {
		MemberID  uuid.UUID `json:"member_id"`
		SessionID uuid.UUID `json:"session_id"`
	}
	// MemberLocked closes the account, until an instant, to the circle from which too many wrong passwords or codes came: strangers, one
	// network, one device, or sessions.
	MemberLocked struct {
		MemberID uuid.UUID `json:"member_id"`
		Until    time.Time `json:"until"`
	}
	// MemberUnlocked ends a lock before its time: the actor is an admin, or the member with a new password.
	MemberUnlocked struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberPasswordReset is a new password that was set with a code from a mail.
	MemberPasswordReset struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberDataExported is an answer with all personal data of the member. The actor is the member, or an admin.
	MemberDataExported struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberPasswordChanged is a new password that was set with the old one.
	MemberPasswordChanged struct {
		MemberID uuid.UUID `json:"member_id"`
	}
)

// The reasons for which a log-in with the right password fails while two factors are on.
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
