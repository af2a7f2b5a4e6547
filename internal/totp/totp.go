// Package totp is codes from a device (RFC 6238, as all authenticator apps have them: SHA-1, 6 digits, 30 seconds).
//
// Each code belongs to a step, the number of its 30 seconds since 1970. A caller that stores the step of the last code that was
// accepted, and accepts only later ones, accepts no code twice (RFC 6238, section 5.2). Count attempts before comparing.
package totp

import (
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

const (
	period = 30 // seconds
	skew   = 1  // steps to either side: a device whose clock is wrong by half a minute, and a slow typist
)

// Good is how many codes are good at any instant.
const Good = 1 + 2*skew

// New returns a secret of 160 random bits in base32, without padding, and the URL that an app takes it from, mostly as
// a QR code.
func New(issuer, account string) (secret, address string, err error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: account, Period: period, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", "", fmt.Errorf("make a secret for codes: %w", err)
	}
	return key.Secret(), key.URL(), nil
}

// Code is the one that a device shows during a step.
func Code(secret string, step int64) (string, error) {
	code, err := hotp.GenerateCodeCustom(secret, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", fmt.Errorf("make a code: %w", err)
	}
	return code, nil
}

// StepAt is the step of an instant.
func StepAt(t time.Time) int64 { return t.Unix() / period }

// Find gives the step that a code is of, around an instant and later than after; 0 when there is none. All are compared,
// each in constant time.
func Find(secret, code string, now time.Time, after int64) (found int64, err error) {
	for step := StepAt(now) - skew; step <= StepAt(now)+skew; step++ {
		right, err := Code(secret, step)
		if err != nil {
			return 0, err
		}
		same := subtle.ConstantTimeCompare([]byte(right), []byte(code)) == 1
		if same && step > after && found == 0 {
			found = step
		}
	}
	return found, nil
}
