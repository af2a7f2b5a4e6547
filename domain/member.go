package domain

import (
	"cmp"
	"time"

	"github.com/google/uuid"
)

// RosterStream is the one stream of a workspace's members and roles. Every command guards the stream, because the caller's grants come
// from it. So each event in the stream makes all commands under way decide again: it holds the events that change permissions, and
// rare events about members.
const RosterStream = "roster"

// The statuses of a member. The row of a removed member stays, because the history shows the name.
const (
	Invited     = "invited"
	Active      = "active"
	Deactivated = "deactivated"
	Removed     = "removed"
	Placeholder = "placeholder" // a person of an imported history without an account: an invitation can give the person one
)

// MemberStatuses are the statuses in the order of lists.
var MemberStatuses = []string{Invited, Active, Deactivated, Placeholder, Removed}

// English is the language of a member who has chosen none.
const English = "en"

// Languages are the languages of mails.
var Languages = []string{English, "fr", "nl"}

// Member is a person's account inside one workspace.
type Member struct {
	ID              uuid.UUID  `json:"id"`
	Email           Personal   `json:"email"`
	FullName        Personal   `json:"full_name"`
	Role            string     `json:"role"` // the name of a built-in role, or the id of an own role
	Status          string     `json:"status"`
	Language        string     `json:"language"`          // one of Languages
	TwoFactor       bool       `json:"two_factor"`        // a log-in requires a code
	HourlyRateCents *int       `json:"hourly_rate_cents"` // EUR cents: precedes the rates of a project and of the workspace
	ErasedAt        *time.Time `json:"erased_at"`         // since then the name and address cannot be read
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
	Version         int        `json:"version"` // of the roster, at the member's last change
	Position        int64      `json:"position"`
}

// The events of the roster.
type (
	// MemberAdded is the first admin of a workspace, who joins without an invitation.
	MemberAdded struct {
		MemberID uuid.UUID `json:"member_id"`
		Email    Personal  `json:"email"`
		FullName Personal  `json:"full_name"`
		Role     string    `json:"role"`
		Language string    `json:"language,omitempty"`
	}
	MemberInvited struct {
		MemberID uuid.UUID `json:"member_id"`
		Email    Personal  `json:"email"`
		FullName Personal  `json:"full_name"`
		Role     string    `json:"role"`
		Language string    `json:"language,omitempty"`
	}
	// MemberPlaced makes a placeholder for a person of an imported history.
	MemberPlaced struct {
		MemberID uuid.UUID `json:"member_id"`
		FullName Personal  `json:"full_name"`
	}
	// MemberInvitedAgain mails another code to an invited member whose code is lost or was tried too often.
	MemberInvitedAgain struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	MemberJoined struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	MemberRoleChanged struct {
		MemberID uuid.UUID `json:"member_id"`
		Role     string    `json:"role"`
	}
	MemberLanguageChanged struct {
		MemberID uuid.UUID `json:"member_id"`
		Language string    `json:"language"`
	}
	// MemberRateChanged sets the member's hourly rate from now on; nil: the rate of the project or the workspace counts.
	MemberRateChanged struct {
		MemberID        uuid.UUID `json:"member_id"`
		HourlyRateCents *int      `json:"hourly_rate_cents"`
	}
	MemberDeactivated struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	MemberReactivated struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	MemberRemoved struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	// MemberErased ends a membership and destroys the key under which all personal data of the member are sealed.
	MemberErased struct {
		MemberID uuid.UUID `json:"member_id"`
	}
)

// Member gives the id of the member whom the event is about.
func (e MemberAdded) Member() uuid.UUID           { return e.MemberID }
func (e MemberInvited) Member() uuid.UUID         { return e.MemberID }
func (e MemberPlaced) Member() uuid.UUID          { return e.MemberID }
func (e MemberInvitedAgain) Member() uuid.UUID    { return e.MemberID }
func (e MemberJoined) Member() uuid.UUID          { return e.MemberID }
func (e MemberRoleChanged) Member() uuid.UUID     { return e.MemberID }
func (e MemberLanguageChanged) Member() uuid.UUID { return e.MemberID }
func (e MemberRateChanged) Member() uuid.UUID     { return e.MemberID }
func (e MemberDeactivated) Member() uuid.UUID     { return e.MemberID }
func (e MemberReactivated) Member() uuid.UUID     { return e.MemberID }
func (e MemberRemoved) Member() uuid.UUID         { return e.MemberID }
func (e MemberErased) Member() uuid.UUID          { return e.MemberID }

func init() {
	register[MemberAdded]("member.added")
	register[MemberInvited]("member.invited")
	register[MemberPlaced]("member.placed")
	register[MemberInvitedAgain]("member.invited_again")
	register[MemberJoined]("member.joined")
	register[MemberRoleChanged]("member.role_changed")
	register[MemberLanguageChanged]("member.language_changed")
	register[MemberRateChanged]("member.rate_changed")
	register[MemberDeactivated]("member.deactivated")
	register[MemberReactivated]("member.reactivated")
	register[MemberRemoved]("member.removed")
	register[MemberErased]("member.erased")
}

// MemberOf gives the id of the member whom a record changes.
func MemberOf(r Record) (uuid.UUID, bool) {
	e, ok := r.Event.(interface{ Member() uuid.UUID })
	if !ok {
		return uuid.Nil, false
	}
	return e.Member(), true
}

// Apply folds one event into the state of the member whom the event is about.
func (m *Member) Apply(r Record) {
	switch e := r.Event.(type) {
	case MemberAdded:
		*m = Member{ID: e.MemberID, Email: e.Email, FullName: e.FullName,
			Role: e.Role, Status: Active, Language: cmp.Or(e.Language, English), CreatedAt: r.At}
	case MemberInvited:
		*m = Member{ID: e.MemberID, Email: e.Email, FullName: e.FullName,
			Role: e.Role, Status: Invited, Language: cmp.Or(e.Language, English), CreatedAt: r.At}
	case MemberPlaced:
		*m = Member{ID: e.MemberID, FullName: e.FullName, Role: "viewer", Status: Placeholder, Language: English, CreatedAt: r.At}
	case MemberJoined, MemberReactivated:
		m.Status = Active
	case MemberRoleChanged:
		m.Role = e.Role
	case MemberLanguageChanged:
		m.Language = e.Language
	case MemberRateChanged:
		m.HourlyRateCents = e.HourlyRateCents
	case MemberTwoFactorEnabled:
		m.TwoFactor = true
	case MemberTwoFactorDisabled, MemberTwoFactorReset:
		m.TwoFactor = false
	case MemberDeactivated:
		m.Status = Deactivated
	case MemberRemoved:
		m.Status = Removed
	case MemberErased:
		*m = Member{ID: m.ID, Role: m.Role, Status: Removed, Language: English, CreatedAt: m.CreatedAt, ErasedAt: &r.At}
	}
	m.UpdatedAt, m.Version, m.Position = r.At, r.Version, r.Position
}

// Leaves tells whether the member of an event is active no longer. A timer runs only while its member is active.
func Leaves(e Event) bool {
	switch e.(type) {
	case MemberDeactivated, MemberRemoved, MemberErased:
		return true
	}
	return false
}

// Gone tells whether the membership has ended.
func (m Member) Gone() bool { return m.Status == Removed }

// Join accepts the invitation.
func (m Member) Join() ([]Event, error) {
	if m.Status != Invited {
		return nil, Refuse(Conflict, "not_invited", "the member is %s, not invited", m.Status)
	}
	return []Event{MemberJoined{MemberID: m.ID}}, nil
}

// ChangeRole gives the member another role, which must exist. otherAdmins counts the other active admins who can act. Where the policy
// requires two factors of admins, only an admin with two factors can act.
func (m Member) ChangeRole(role string, otherAdmins int) ([]Event, error) {
	if m.Status == Placeholder {
		return nil, m.notHere()
	}
	if role == m.Role {
		return nil, nil
	}
	if err := m.mayStepDown(otherAdmins); err != nil {
		return nil, err
	}
	return []Event{MemberRoleChanged{MemberID: m.ID, Role: role}}, nil
}

// ChangeRate sets the member's hourly rate from now on. Existing time entries keep the rate that was in force.
func (m Member) ChangeRate(to Optional[int]) ([]Event, error) {
	if !changedOptional(m.HourlyRateCents, to).Set {
		return nil, nil
	}
	return []Event{MemberRateChanged{MemberID: m.ID, HourlyRateCents: to.Value}}, checkAmount("/hourly_rate_cents", to.Value, MaxRate)
}

// notHere refuses a command on a placeholder that requires an account.
func (m Member) notHere() error {
	return Refuse(Conflict, "member_placeholder", "the member is a placeholder without an account: invite the person with placeholder_id")
}

// ChangeLanguage sets the language of mails to the member.
func (m Member) ChangeLanguage(language string) ([]Event, error) {
	if err := CheckLanguage("/language", language); err != nil {
		return nil, err
	}
	if language == m.Language {
		return nil, nil
	}
	return []Event{MemberLanguageChanged{MemberID: m.ID, Language: language}}, nil
}

// CheckLanguage refuses a text that is not one of Languages.
func CheckLanguage(pointer, language string) error { return oneOf(pointer, language, Languages...) }

// Deactivate closes the account until it is reactivated. otherAdmins as for ChangeRole.
func (m Member) Deactivate(otherAdmins int) ([]Event, error) {
	switch m.Status {
	case Deactivated:
		return nil, nil
	case Invited:
		return nil, Refuse(Conflict, "member_invited", "the member has not joined yet: remove the member instead")
	case Placeholder:
		return nil, m.notHere()
	}
	if err := m.mayStepDown(otherAdmins); err != nil {
		return nil, err
	}
	return []Event{MemberDeactivated{MemberID: m.ID}}, nil
}

// Reactivate opens the account of a deactivated member again.
func (m Member) Reactivate() ([]Event, error) {
	switch m.Status {
	case Active:
		return nil, nil
	case Invited:
		return nil, Refuse(Conflict, "member_invited", "the member has not joined yet")
	case Placeholder:
		return nil, m.notHere()
	}
	return []Event{MemberReactivated{MemberID: m.ID}}, nil
}

// Remove ends the membership. otherAdmins as for ChangeRole.
func (m Member) Remove(otherAdmins int) ([]Event, error) {
	if err := m.mayStepDown(otherAdmins); err != nil {
		return nil, err
	}
	return []Event{MemberRemoved{MemberID: m.ID}}, nil
}

// Erase makes a member unknown, whatever the member's status is. The member's work stays. otherAdmins as for ChangeRole.
func (m Member) Erase(otherAdmins int) ([]Event, error) {
	if m.ErasedAt != nil {
		return nil, nil
	}
	if err := m.mayStepDown(otherAdmins); err != nil {
		return nil, err
	}
	return []Event{MemberErased{MemberID: m.ID}}, nil
}

// mayStepDown holds promise 5: a workspace always has an active admin. Invited and deactivated admins do not count. An admin who must
// turn on two factors before anything else does not count either.
func (m Member) mayStepDown(otherAdmins int) error {
	if m.Role == Admin && m.Status == Active && otherAdmins == 0 {
		return Refuse(Conflict, "last_admin", "this is the last active admin of the workspace who can act: make another member an admin first (with two factors, where the policy requires them)")
	}
	return nil
}

// Parts gives the member's parts in the other member.
func (m Member) Parts(member uuid.UUID) Parts {
	return partsOf(has{Oneself, m.ID == member})
}
