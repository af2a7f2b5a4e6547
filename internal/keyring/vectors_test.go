package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fernet/fernet-go"
)

// vector is one entry of the Fernet specification's files.
type vector struct {
	Desc, Token, Src, Secret string
	Now                      time.Time
	TTL                      int `json:"ttl_sec"`
	IV                       []int
}

func vectors(t *testing.T, file string, want int) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != want {
		t.Fatalf("%s has %d vectors, want %d", file, len(all), want)
	}
	return all
}

// specKey is the specification's key, which Load refuses.
func specKey(t *testing.T, text string) *fernet.Key {
	t.Helper()
	key, err := fernet.DecodeKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSpecGenerate(t *testing.T) {
	v := vectors(t, "generate.json", 1)[0]
	iv := make([]byte, len(v.IV))
	for i, b := range v.IV {
		iv[i] = byte(b)
	}
	random := rand.Reader
	defer func() { rand.Reader = random }()
	rand.Reader = bytes.NewReader(iv)
	token, err := fernet.EncryptAndSignAtTime([]byte(v.Src), specKey(t, v.Secret), v.Now)
	if err != nil || string(token) != v.Token {
		t.Fatalf("got %s, %v, want %s", token, err, v.Token)
	}
}

func TestSpecVerify(t *testing.T) {
	v := vectors(t, "verify.json", 1)[0]
	got, key, err := decrypt([]secret{hide(specKey(t, v.Secret))}, v.Token)
	if err != nil || string(got) != v.Src || key != 0 {
		t.Fatalf("got %q with key %d, %v, want %q", got, key, err, v.Src)
	}
	raw, err := decode(v.Token)
	if want := time.Date(1985, 10, 26, 8, 20, 0, 0, time.UTC); err != nil || !sealedAt(raw).Equal(want) {
		t.Fatalf("sealed at %v, %v, want %v", sealedAt(raw), err, want)
	}
}

// Six of the eight invalid tokens are invalid at any time. The other two are genuine and their age is wrong, which
// only a reader with a TTL can see; Kluis has none, so they open here: that is asserted too, so that it is known.
func TestSpecInvalid(t *testing.T) {
	aged := map[string]bool{"far-future TS (unacceptable clock skew)": true, "expired TTL": true}
	seen := 0
	for _, v := range vectors(t, "invalid.json", 8) {
		got, _, err := decrypt([]secret{hide(specKey(t, v.Secret))}, v.Token)
		if aged[v.Desc] {
			seen++
			if err != nil || string(got) != "" {
				t.Errorf("%s: without a TTL got %q, %v", v.Desc, got, err)
			}
		} else if !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%s: got %q, %v, want ErrSealed", v.Desc, got, err)
		}
		if got := fernet.VerifyAndDecrypt([]byte(v.Token), time.Duration(v.TTL)*time.Second, []*fernet.Key{specKey(t, v.Secret)}); got != nil {
			t.Errorf("%s: with a TTL it opens", v.Desc)
		}
	}
	if seen != len(aged) {
		t.Errorf("%d of the vectors are about age, want %d", seen, len(aged))
	}
}

// The same two with their own distances to the clock, under a clock that the test holds: the specification's lies in
// 1985, before any clock that synctest gives.
func TestSpecAge(t *testing.T) {
	for _, v := range vectors(t, "invalid.json", 8) {
		if v.Desc != "expired TTL" && v.Desc != "far-future TS (unacceptable clock skew)" {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			raw, err := decode(v.Token)
			if err != nil {
				t.Fatal(err)
			}
			keys := []*fernet.Key{specKey(t, v.Secret)}
			ttl := time.Duration(v.TTL) * time.Second
			distance := sealedAt(raw).Sub(v.Now)
			allowed := 59 * time.Second // on either side: the TTL, and the clock skew that Fernet tolerates
			if distance < 0 {
				allowed = -allowed
			}
			for distance, opens := range map[time.Duration]bool{distance: false, 0: true, allowed: true} {
				token, err := fernet.EncryptAndSignAtTime([]byte("hello"), keys[0], time.Now().Add(distance))
				if err != nil {
					t.Fatal(err)
				}
				if got := fernet.VerifyAndDecrypt(token, ttl, keys); (got != nil) != opens {
					t.Errorf("%s: sealed %v from now with TTL %v: opens %v, want %v", v.Desc, distance, ttl, got != nil, opens)
				}
			}
		})
	}
}
