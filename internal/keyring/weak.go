package keyring

import (
	"slices"

	"github.com/fernet/fernet-go"
)

// published are keys in documentation and example files, from where they were copied into thousands of repositories.
var published = []string{
	"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=", // the Fernet specification, and every library's tests
	"46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=", // puckel/docker-airflow, README
	"81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=", // Airflow tutorials and compose files; Pulp operator
	"7T512UXSSmBOkpWimFHIVb8jK6lfmSAvx4mO6Arehnc=", // default of the community's Airflow Helm chart
	"FB0o_zt4e3Ziq3LdUUO7F2Z95cvFFx16hU8jTeR1ASM=", // Airflow compose files
	"jsDPRErfv8Z_eVTnGfF8ywd19j4pyqE3NpdUBA_oRTo=", // Airflow compose files
	"YlCImzjge_TeZc7jPJ7Jz2pgOtb4yTssA1pVyqIADWg=", // Airflow tutorials
	"ZmDfcTF7_60GrrY167zsiPd67pEvs0aGOv2oasOM1Pg=", // Python tutorials: ENCRYPTION_KEY, "development default"
	"zp8kV516l9tKzqq9pJ2Y6cXbM3bgEWIapGwzQs6jio4=", // Airflow workflow examples
}

// fewestBytes is how many different bytes a key must have: one more than half a key that stands there twice. 32 random bytes have 30 on average,
// and fewer than 17 less than once in 10^14 keys.
const fewestBytes = 17

// weakness returns why a key is no secret, or "". It finds what people type or copy: published samples, text in base64, a byte or half a key
// repeated, counting up. It does not find a key from a bad source of randomness.
func weakness(key *fernet.Key) string {
	switch {
	case slices.Contains(published, key.Encode()):
		return "is a published sample key"
	case distinct(key[:]) < fewestBytes:
		return "repeats a few bytes and is not random"
	case steady(key[:]):
		return "is a sequence and is not random"
	case printable(key[:]):
		return "is text and not random bytes"
	}
	return ""
}

func distinct(b []byte) int {
	seen := map[byte]bool{}
	for _, c := range b {
		seen[c] = true
	}
	return len(seen)
}

// steady tells whether each byte is the one before plus the same step: 0, 1, 2, ...
func steady(b []byte) bool {
	for i := 2; i < len(b); i++ {
		if b[i]-b[i-1] != b[1]-b[0] {
			return false
		}
	}
	return true
}

func printable(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' })
}
