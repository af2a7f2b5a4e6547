package domain

import (
	"net/mail"
	"strings"
	"unicode/utf8"
)

// CheckEmail refuses what cannot be an e-mail address (RFC 5321: at most 254 octets, one @), and gives the
// address in the form in which it is compared: without regard to case.
func CheckEmail(pointer, address string) (normal string, err error) {
	parsed, parseErr := mail.ParseAddress(address)
	if parseErr != nil || parsed.Address != address || len(address) > 254 || !utf8.ValidString(address) || strings.ContainsAny(address, "\x00\r\n\" ") {
		return "", InvalidField(pointer, "must be an e-mail address such as ann@example.org")
	}
	return strings.ToLower(address), nil
}

// CheckName refuses what cannot be a person's name.
func CheckName(pointer, name string) error {
	if strings.ContainsAny(name, "\r\n") {
		return InvalidField(pointer, "must be one line")
	}
	return checkText(pointer, name, 1, 200)
}
