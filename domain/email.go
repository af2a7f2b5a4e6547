package domain

import (
	"net/mail"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A host name of at least two labels, none of which begins or ends with a hyphen. Letters of all alphabets are allowed.
var mailDomain = regexp.MustCompile(`^(?:[\pL\pN](?:[\pL\pM\pN-]{0,61}[\pL\pM\pN])?\.)+[\pL\pN](?:[\pL\pM\pN-]{0,61}[\pL\pM\pN])$`)

// CheckEmail refuses a text that cannot be an e-mail address (RFC 5321: one @, at most 64 octets before the @ and 254 in all).
func CheckEmail(pointer, address string) error {
	parsed, parseErr := mail.ParseAddress(address)
	local, domain, _ := strings.Cut(address, "@")
	if parseErr != nil || parsed.Address != address || len(address) > 254 || len(local) > 64 ||
		!utf8.ValidString(address) || strings.ContainsFunc(address, forbidden) || !mailDomain.MatchString(domain) {
		return InvalidField(pointer, "must be an e-mail address such as ann@example.org")
	}
	return nil
}

func forbidden(r rune) bool {
	return unicode.IsControl(r) || unicode.IsSpace(r) || Ignorable(r) || r == '"'
}

// A link as mail programs find one in plain text: an address with a scheme, or a host name. A capital after the dot begins the next word
// ("Dr.Smith").
var link = regexp.MustCompile(`://|(?i:\bwww\.)|[\pL\pN-]\.(?:\p{Ll}{2,}|\p{Lu}{2,})`)

// MaxName is the longest name of a person or an organisation, in code points.
const MaxName = 200

// CheckName refuses a text that cannot be the name of a person or an organisation. A name is mailed to strangers, so a name holds no
// invisible characters and no link.
func CheckName(pointer, name string) error {
	if err := checkText(pointer, name, 1, MaxName); err != nil {
		return err
	}
	if strings.ContainsFunc(name, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || Ignorable(r) }) {
		return InvalidField(pointer, "must be one line without control characters or invisible characters")
	}
	if link.MatchString(name) {
		return InvalidField(pointer, "must not contain a link or a text that looks like one")
	}
	return nil
}
