// Package totp makes and checks the codes of authenticator apps: TOTP (RFC 6238) with SHA-1, 6 digits and 30 seconds, as all apps have it.
//
// Each code belongs to a step, the number of its 30 seconds since 1970. A caller that stores the step of the last code that was
// accepted, and accepts only later ones, accepts no code twice (RFC 6238, section 5.2). The caller counts attempts before comparing.
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
	skew   = 1  // steps to either side, for a clock that is wrong by half a minute, and for slow typing (RFC 6238, section 5.2)
)

// Good is how many codes are good at any instant.
const Good = 1 + 2*skew

// New returns a secret of 160 random bits in base32 without padding, and the otpauth URL by which an app learns it, mostly as a QR code.
func New(issuer, account string) (secret, address string, err error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: account, Period: period, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", "", fmt.Errorf("make a secret for codes: %w", err)
	}
	return key.Secret(), key.URL(), nil
}

// Code returns the code that a device shows during a step.
func Code(secret string, step int64) (string, error) {
	code, err := hotp.GenerateCodeCustom(secret, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", fmt.Errorf("make a code: %w", err)
	}
	return code, nil
}

// StepAt returns the step of a moment.
func StepAt(t time.Time) int64 { return t.Unix() / period }

// Find returns the step of a code: one around now, and later than after; 0 when there is none. It compares all of them, each in constant
// time.
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
