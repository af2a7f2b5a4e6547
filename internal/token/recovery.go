package token

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

var recovery = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewRecoveryCode returns a code to write down, xxxxx-xxxxx: 50 random bits in base32 (RFC 4648, lower case). Store it
// under a keyed hash of how it is Typed, and count the attempts.
func NewRecoveryCode() string {
	raw := make([]byte, 7)
	rand.Read(raw) // never fails, see crypto/rand
	text := recovery.EncodeToString(raw)
	return text[:5] + "-" + text[5:10]
}

// Typed is a code, of any kind, in the form in which it is compared: people type spaces, hyphens and capitals.
func Typed(code string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(code))
}

// IsRecoveryCode tells a code that was typed from the 6 digits of a device.
func IsRecoveryCode(typed string) bool {
	return len(typed) == 10 && strings.Trim(typed, "abcdefghijklmnopqrstuvwxyz234567") == ""
}
