package token

import (
	"crypto/rand"
	"fmt"
	"math/big"
)

// NewCode returns 6 digits, each of the million equally likely, leading zeros kept. So short a code protects nothing by itself: the caller
// counts attempts before comparing, and stores the code under a keyed hash (OWASP Multifactor Authentication Cheat Sheet).
func NewCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(fmt.Sprintf("token: no randomness: %v", err)) // never happens, see crypto/rand
	}
	return fmt.Sprintf("%06d", n)
}
