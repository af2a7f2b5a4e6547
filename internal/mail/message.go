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

	"github.com/kluis-eu/kluis/internal/shown"
)

// ErrRefused is in the chain of every error about a message that can never be sent as it is: its address is wrong, its template or one of its values
// is unknown, or a value is missing. Another try does not help.
var ErrRefused = errors.New("mail refused")

// Message is one mail before it is rendered: which text, to whom, in which language, with which values.
type Message struct {
	// ID is the same at every attempt to send one mail, and becomes its Message-ID (RFC 5322, 3.6.4). An attempt whose answer was lost is
	// repeated, and by the ID the recipient's program can recognise the second copy. It has at most 64 letters, digits and hyphens.
	// When it is empty, [Outbox.Enqueue] chooses one.
	ID string `json:"id"`
	// Of is the member to whom the mail goes, in clear; the zero Recipient when it goes to no member. A mail to a member who was
	// erased meanwhile is not sent.
	Of Recipient `json:"-"`
	// At is the Date of the mail: when an attempt to send it begins, by the database's clock.
	At time.Time `json:"-"`
	// Template is "signup_code", "invitation_code", "reset_code", "password_changed", "two_factor_changed", "receiver_stopped",
	// "locked", "retention_shortened", "subprocessor_notice", "security_pack" or "workspace_erasure".
	Template string `json:"template"`
	// To is one address, without a display name: "ada@example.org". Its domain may be international.
	To string `json:"to"`
	// Language is a language tag (RFC 5646), of which the first part counts: "fr-BE" is "fr". There are "en", "fr" and "nl"; any other is
	// "en".
	Language string `json:"language"`
	// Values fill the gaps of the text. Those marked * are needed, the others are optional:
	//
	//	Workspace         * the name of the workspace (all templates but security_pack)
	//	Code              * the code (templates of codes)
	//	Known             not empty: the sign-in that failed had the right password (locked)
	//	Change            * "on", "off" or "reset" (two_factor_changed); "requested", "confirmed" or "cancelled" (workspace_erasure)
	//	Receiver, Reason  * the id of the receiver, and "gone" or "failing" (receiver_stopped)
	//	Name              the name of the recipient, for the greeting
	//	When              when the workspace will be erased (workspace_erasure)
	//	Minutes           how long a code or a lock lasts; "15" by default
	//	Days              how long an invitation lasts, "7" by default; * how long the log is kept (retention_shortened)
	//	Plan, Until       * the plan that keeps the log for less long, and its first day (retention_shortened)
	//	URL               where the code, or the reader, goes
	//	Inviter, Slug     who sent the invitation, and the slug of the workspace (invitation_code)
	//	Company, Purpose, Data, Country, Effective   * of the new subprocessor (subprocessor_notice)
	//
	// A value is one line of at most 200 characters. Line breaks and other control characters become a space. Characters that turn the direction of
	// the text are dropped. The rest of a longer value is cut off.
	Values map[string]string `json:"values"`
	// Files are attached. Their names are of letters, digits, dots and hyphens, at most 100.
	Files []File `json:"files,omitempty"`
}

// Recipient is a member to whom a mail goes, or somebody who signs up.
type Recipient struct {
	Workspace uuid.UUID `json:"workspace,omitzero"`
	Member    uuid.UUID `json:"member,omitzero"`
	Signup    uuid.UUID `json:"signup,omitzero"`
}

// File is an attachment of a mail. Media is its media type (RFC 6838).
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
	useful       time.Duration // since the mail was asked for: later it is not sent any more
}

var kinds = map[string]kind{
	"signup_code": {
		needs:  []string{"Workspace", "Code"},
		takes:  []string{"Name", "Minutes", "URL"},
		preset: map[string]string{"Minutes": "15"},
		useful: 15 * time.Minute, // the code ends with it
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
		useful: 7 * 24 * time.Hour, // out of the thirty days' notice
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

// check tells whether the message can be sent at all. The error is [ErrRefused].
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

// values are the values as the text gets them: each is one line, defaults are filled in, none is missing or unknown.
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
		clean[name] = shorten(value)
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

// shorten makes a value harmless in a header and in a text: see Message.Values.
func shorten(value string) string {
	value = shown.Line(value)
	if runes := []rune(value); len(runes) > maxValue {
		value = string(runes[:maxValue-1]) + "…"
	}
	return value
}

// Normal returns the form in which addresses are compared. The local part is compared as user names are (RFC 8265, UsernameCaseMapped):
// without regard to case, to width, and to how letters are composed. The domain is in ASCII. The error is [ErrRefused] for an address to
// which no mail can be sent, and does not contain the address.
func Normal(to string) (string, error) {
	at := max(strings.LastIndexByte(to, '@'), 0)
	local, err := precis.UsernameCaseMapped.String(to[:at])
	if err != nil {
		return "", fmt.Errorf("%w: the address has a local part of characters that names do not have", ErrRefused)
	}
	ascii, err := address(local + norm.NFC.String(strings.ToLower(to[at:])))
	return strings.ToLower(ascii), err
}

// address checks one e-mail address (RFC 5321, 4.5.3.1: at most 64 octets before the @, and 254 in all) and writes its domain in ASCII
// (RFC 5891). The error is [ErrRefused] and does not contain the address.
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

// Templates returns the names of the values that each template may have, by template.
func Templates() map[string][]string {
	all := map[string][]string{}
	for name, k := range kinds {
		all[name] = slices.Concat(k.needs, k.takes)
	}
	return all
}
