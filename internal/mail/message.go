package mail

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// ErrRefused is in the chain of every error about a message that can never be sent as it is: a bad address, an unknown template or
// value, a missing value. Trying again does not help.
var ErrRefused = errors.New("mail refused")

// Message is one mail before it is rendered: which text, to whom, in which language, with which values.
type Message struct {
	// ID is the same at every attempt to send one mail, and becomes its Message-ID: an attempt whose answer was lost is made again,
	// and this is how the second copy can be recognised. At most 64 letters, digits and hyphens. [Outbox.Enqueue] chooses one when
	// it is empty.
	ID string `json:"id"`
	// Of says to which member of which workspace it goes, in clear; the zero Recipient to somebody who is none. A mail to somebody who was
	// erased meanwhile is not sent.
	Of Recipient `json:"-"`
	// At is its Date: when an attempt to send it begins, by the database's clock.
	At time.Time `json:"-"`
	// Template is "signup_code", "invitation_code", "reset_code", "password_changed", "two_factor_changed", "receiver_stopped",
	// "locked", "retention_shortened", "subprocessor_notice", "security_pack" or "workspace_erasure".
	Template string `json:"template"`
	// To is one address, without a display name: "ada@example.org". Its domain may be international.
	To string `json:"to"`
	// Language is a language tag, of which the first part counts: "fr-BE" is "fr". There are "en", "fr", "nl"; any other is "en".
	Language string `json:"language"`
	// Values fill the gaps of the text:
	//
	//	Workspace  its name; needed by all but the security pack
	//	Code       needed by the codes
	//	Known      of a lock: not empty when whoever failed knows the password; optional
	//	Change     of two factors: "on", "off" or "reset"; of an erasure: "requested", "confirmed" or "cancelled"; needed there
	//	Receiver, Reason   of a receiver that was stopped: its id, and "gone" or "failing"; needed there
	//	Name       of the person written to, for the greeting; optional
	//	When       of the erasure of a workspace: its time; optional
	//	Minutes    how long a code, or a lock, lasts; "15" when missing
	//	Days       how long an invitation lasts, "7" when missing; how long a log is kept, needed there
	//	Plan, Until   the plan of a workspace whose log is to be kept for less long, and the day from which on; needed there
	//	URL        where to go with it; optional
	//	Inviter, Slug   of an invitation: who sent it, and the workspace's slug; optional
	//	Company, Purpose, Data, Country, Effective   of a new subprocessor: needed there
	//
	// Values are one line of at most 200 characters: line breaks and other control characters become a space, what turns the
	// direction of the text is dropped, and the rest is cut off.
	Values map[string]string `json:"values"`
	// Files go with it. Their names are for people, and of letters, digits, dots and hyphens.
	Files []File `json:"files,omitempty"`
}

// Recipient is a member to whom a mail goes, or somebody who signs up.
type Recipient struct {
	Workspace uuid.UUID `json:"workspace,omitzero"`
	Member    uuid.UUID `json:"member,omitzero"`
	Signup    uuid.UUID `json:"signup,omitzero"`
}

// File is an attachment of a mail.
type File struct {
	Name    string `json:"name"`
	Media   string `json:"media"`
	Content []byte `json:"content"`
}

var validFile = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.-]{0,99}$`)

// A kind is what the program knows of a template. The words are in texts/.
type kind struct {
	needs, takes []string
	preset       map[string]string
	useful       time.Duration // from asking for it; afterwards it is not sent any more
}

var kinds = map[string]kind{
	"signup_code": {
		needs:  []string{"Workspace", "Code"},
		takes:  []string{"Name", "Minutes", "URL"},
		preset: map[string]string{"Minutes": "15"},
		useful: 15 * time.Minute, // the code is dead by then
	},
	"invitation_code": {
		needs:  []string{"Workspace", "Code"},
		takes:  []string{"Name", "Days", "Inviter", "Slug", "URL"},
		preset: map[string]string{"Days": "7"},
		useful: 24 * time.Hour,
	},
	"reset_code": {
		needs:  []string{"Workspace", "Code"},
		takes:  []string{"Name", "Minutes", "URL"},
		preset: map[string]string{"Minutes": "15"},
		useful: 15 * time.Minute,
	},
	"password_changed": {
		needs:  []string{"Workspace"},
		takes:  []string{"Name", "URL"},
		useful: 24 * time.Hour,
	},
	"two_factor_changed": {
		needs:  []string{"Workspace", "Change"},
		takes:  []string{"Name", "URL"},
		useful: 24 * time.Hour,
	},
	"retention_shortened": {
		needs:  []string{"Workspace", "Plan", "Until", "Days"},
		takes:  []string{"Name", "URL"},
		useful: 7 * 24 * time.Hour,
	},
	"receiver_stopped": {
		needs:  []string{"Workspace", "Receiver", "Reason"},
		takes:  []string{"Name", "URL"},
		useful: 24 * time.Hour,
	},
	"subprocessor_notice": {
		needs:  []string{"Workspace", "Company", "Purpose", "Data", "Country", "Effective"},
		takes:  []string{"Name", "URL"},
		useful: 7 * 24 * time.Hour, // of the thirty days
	},
	"security_pack": {
		takes:  []string{"URL"},
		useful: 24 * time.Hour,
	},
	"workspace_erasure": {
		needs:  []string{"Workspace", "Change"},
		takes:  []string{"Name", "When", "URL"},
		useful: 24 * time.Hour,
	},
	"locked": {
		needs:  []string{"Workspace"},
		takes:  []string{"Name", "Minutes", "Known", "URL"},
		preset: map[string]string{"Minutes": "15"},
		useful: 24 * time.Hour,
	},
}

var validID = regexp.MustCompile(`^[0-9A-Za-z-]{0,64}$`)

// check says whether the message can be sent at all. The error is [ErrRefused].
func (m Message) check() error {
	if !validID.MatchString(m.ID) {
		return fmt.Errorf("%w: an id is at most 64 letters, digits and hyphens", ErrRefused)
	}
	if _, err := address(m.To); err != nil {
		return err
	}
	for _, f := range m.Files {
		if !validFile.MatchString(f.Name) {
			return fmt.Errorf("%w: the name of a file is at most 100 letters, digits, dots and hyphens", ErrRefused)
		}
	}
	_, err := m.values()
	return err
}

// values are the values as the text gets them: one line each, presets filled in, nothing missing, nothing unknown.
func (m Message) values() (map[string]string, error) {
	k, ok := kinds[m.Template]
	if !ok {
		return nil, fmt.Errorf("%w: no template %q", ErrRefused, m.Template)
	}
	clean := make(map[string]string, len(m.Values)+len(k.preset))
	for name, value := range m.Values {
		if !slices.Contains(k.needs, name) && !slices.Contains(k.takes, name) {
			return nil, fmt.Errorf("%w: %s takes no value %q", ErrRefused, m.Template, name)
		}
		clean[name] = oneLine(value)
	}
	for name, value := range k.preset {
		if clean[name] == "" {
			clean[name] = value
		}
	}
	for _, name := range k.needs {
		if clean[name] == "" {
			return nil, fmt.Errorf("%w: %s needs the value %q", ErrRefused, m.Template, name)
		}
	}
	return clean, nil
}

const maxValue = 200 // characters

// oneLine makes a value harmless in a header and honest in a text: see Message.Values.
func oneLine(value string) string {
	value = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(value, "\uFFFD"))
	value = strings.Join(strings.Fields(value), " ")
	if runes := []rune(value); len(runes) > maxValue {
		value = string(runes[:maxValue-1]) + "…"
	}
	return value
}

// Normal is the form in which addresses are compared, as people mean them: the local part as user names are (RFC 8265,
// UsernameCaseMapped: without regard to case, to width, and to how letters are composed), the domain in ASCII. The error is
// [ErrRefused], for an address to which no mail can be sent, and does not contain it.
func Normal(to string) (string, error) {
	at := max(strings.LastIndexByte(to, '@'), 0)
	local, err := precis.UsernameCaseMapped.String(to[:at])
	if err != nil {
		return "", fmt.Errorf("%w: the address has a local part of characters that names do not have", ErrRefused)
	}
	ascii, err := address(local + norm.NFC.String(strings.ToLower(to[at:])))
	return strings.ToLower(ascii), err
}

// address checks one e-mail address (RFC 5321, 4.5.3.1: at most 64 octets before the @ and 254 in all) and writes its domain in
// ASCII (RFC 5891). The error is [ErrRefused] and does not contain the address.
func address(to string) (string, error) {
	if strings.ContainsFunc(to, unicode.IsControl) {
		return "", fmt.Errorf("%w: the address has a control character", ErrRefused)
	}
	parsed, err := mail.ParseAddress(to)
	if err != nil || parsed.Name != "" || parsed.Address != to {
		return "", fmt.Errorf("%w: the address is not one bare address", ErrRefused)
	}
	at := strings.LastIndexByte(to, '@')
	domain, err := idna.Lookup.ToASCII(to[at+1:])
	if err != nil {
		return "", fmt.Errorf("%w: the address has no valid domain", ErrRefused)
	}
	ascii := to[:at+1] + domain
	if at > 64 || len(ascii) > 254 {
		return "", fmt.Errorf("%w: the address is too long", ErrRefused)
	}
	return ascii, nil
}

// Templates are the kinds of mails there are, and the values that each may have.
func Templates() map[string][]string {
	all := map[string][]string{}
	for name, k := range kinds {
		all[name] = slices.Concat(k.needs, k.takes)
	}
	return all
}
