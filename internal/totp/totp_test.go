package totp

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// The secret of RFC 6238, appendix B, for SHA-1: "12345678901234567890".
const vectors = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// RFC 6238, appendix B, the rows for SHA-1. The RFC has 8 digits; those of 6 are the last of them.
func TestVectors(t *testing.T) {
	for _, v := range []struct {
		at   int64
		step int64
		code string
	}{
		{59, 0x1, "94287082"},
		{1111111109, 0x23523EC, "07081804"},
		{1111111111, 0x23523ED, "14050471"},
		{1234567890, 0x273EF07, "89005924"},
		{2000000000, 0x3F940AA, "69279037"},
		{20000000000, 0x27BC86AA, "65353130"},
	} {
		code := v.code[2:]
		now := time.Unix(v.at, 0)
		if got, err := Code(vectors, StepAt(now)); err != nil || got != code || StepAt(now) != v.step {
			t.Errorf("at %d: %s of step %x, %v, want %s of %x", v.at, got, StepAt(now), err, code, v.step)
		}
		for late, want := range map[int64]int64{-90: 0, -60: 0, -30: v.step, 0: v.step, 30: v.step, 60: 0} {
			if v.at+late < 0 {
				continue
			}
			if got, err := Find(vectors, code, time.Unix(v.at+late, 0), 0); err != nil || got != want {
				t.Errorf("at %d, %d s late: step %x, %v, want %x", v.at, late, got, err, want)
			}
		}
		if got, err := Find(vectors, code, now, v.step-1); err != nil || got != v.step {
			t.Errorf("at %d, after the step before: %x, %v", v.at, got, err)
		}
		if got, err := Find(vectors, code, now, v.step); err != nil || got != 0 {
			t.Errorf("at %d, for the second time: %x, %v", v.at, got, err)
		}
		for _, bad := range []string{"", code[1:], code + "0", v.code, " " + code, strings.Repeat("0", 1<<20), "٢٨٧٠٨٢"} {
			if got, err := Find(vectors, bad, now, 0); err != nil || got != 0 {
				t.Errorf("%.20q at %d: %x, %v", bad, v.at, got, err)
			}
		}
	}
	if _, err := Find("not base32!", "000000", time.Now(), 0); err == nil || strings.Contains(err.Error(), "not base32!") {
		t.Errorf("a bad secret: %v", err)
	}
}

func TestNew(t *testing.T) {
	secret, address, err := New("Kluis", "zoë+1@example.org (acme)")
	if err != nil || len(secret) != 32 {
		t.Fatalf("%q, %v", secret, err)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Kluis:zoë+1@example.org (acme)" {
		t.Errorf("%q: %v", address, err)
	}
	for name, want := range map[string]string{"secret": secret, "issuer": "Kluis", "algorithm": "SHA1", "digits": "6", "period": "30"} {
		if got := u.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if other, _, _ := New("Kluis", "a"); other == secret {
		t.Error("the same secret twice")
	}
}
