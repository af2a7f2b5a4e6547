package token

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

var recovery = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewRecoveryCode returns a code to write down, xxxxx-xxxxx: 50 random bits in base32 (RFC 4648, lower case). The caller stores it under a keyed
// hash of its form by Typed, and counts attempts.
func NewRecoveryCode() string {
	raw := make([]byte, 7)
	rand.Read(raw) // never fails, see crypto/rand
	text := recovery.EncodeToString(raw)
	return text[:5] + "-" + text[5:10]
}

// Typed returns the form in which a code of any kind is compared, since people type spaces, hyphens and capitals.
func Typed(code string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(code))
}

// IsRecoveryCode tells a recovery code from the 6 digits of a device. The code is in the form of Typed.
func IsRecoveryCode(typed string) bool {
	return len(typed) == 10 && strings.Trim(typed, "abcdefghijklmnopqrstuvwxyz234567") == ""
}
