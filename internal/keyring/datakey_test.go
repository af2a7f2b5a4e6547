package keyring

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"golang.org/x/crypto/hkdf"
	"pgregory.net/rapid"
)

func TestWrap(t *testing.T) {
	k, _ := ring(t, 2)
	d := NewDataKey()
	wrapped, err := k.Wrap("kluis/workspace/1/data-key/2", d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Unwrap("kluis/workspace/1/data-key/2", wrapped)
	if err != nil || *got.key() != *d.key() {
		t.Fatalf("unwrapping gave another key, %v", err)
	}
	if value, err := got.Open("field", mustSeal(t, d, "field", "x")); err != nil || string(value) != "x" {
		t.Fatalf("got %q, %v", value, err)
	}
	if _, err := k.Unwrap("kluis/workspace/2/data-key/2", wrapped); !errors.Is(err, ErrPurpose) {
		t.Errorf("a moved data key: %v, want ErrPurpose", err)
	}
	if _, err := k.Unwrap("field", mustSeal(t, k, "field", "31 bytes are no data key, really")); err != nil {
		t.Errorf("32 bytes: %v", err)
	}
	for _, n := range []int{0, 31, 33, 64} {
		if d, err := k.Unwrap("field", mustSeal(t, k, "field", string(make([]byte, n)))); !errors.Is(err, ErrPurpose) || d.key != nil {
			t.Errorf("%d bytes: %v, want ErrPurpose", n, err)
		}
	}
}

func TestZeroDataKey(t *testing.T) {
	k, _ := ring(t, 1)
	var zero DataKey
	if _, err := k.Wrap("field", zero); err == nil {
		t.Error("the zero data key was wrapped")
	}
	if _, err := zero.Seal("field", nil); err == nil {
		t.Error("the zero data key sealed")
	}
	if _, err := zero.Open("field", mustSeal(t, NewDataKey(), "field", "x")); err == nil {
		t.Error("the zero data key opened")
	}
	if zero.CheckMAC("field", nil, make([]byte, sha256.Size)) {
		t.Error("the zero data key checked")
	}
	defer func() {
		if recover() == nil {
			t.Error("the zero data key made a MAC")
		}
	}()
	zero.MAC("field", nil)
}

// The MAC is what its comment says, built here from x/crypto's HKDF.
func TestMACConstruction(t *testing.T) {
	d := NewDataKey()
	derived := make([]byte, sha256.Size)
	if _, err := io.ReadFull(hkdf.New(sha256.New, d.key()[:], nil, []byte("kluis/mac/v1\x00email")), derived); err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, derived)
	h.Write([]byte("a@example.org"))
	if got := d.MAC("email", []byte("a@example.org")); !bytes.Equal(got, h.Sum(nil)) {
		t.Fatalf("got %x, want %x", got, h.Sum(nil))
	}
}

func TestMAC(t *testing.T) {
	old, oldText := ring(t, 1)
	both, err := Load("", NewDataKey().key().Encode()+","+oldText[0])
	if err != nil {
		t.Fatal(err)
	}
	d := NewDataKey()
	rapid.Check(t, func(t *rapid.T) {
		purpose := rapid.String().Draw(t, "purpose")
		other := rapid.String().Filter(func(s string) bool { return s != purpose }).Draw(t, "other")
		message := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		m := old.MAC(purpose, message)
		if !old.CheckMAC(purpose, message, m) || !both.CheckMAC(purpose, message, m) {
			t.Fatal("a MAC under the second key does not check")
		}
		if bytes.Equal(m, both.MAC(purpose, message)) || old.CheckMAC(purpose, message, both.MAC(purpose, message)) {
			t.Fatal("a MAC does not depend on the first key")
		}
		if both.CheckMAC(other, message, m) || both.CheckMAC(purpose, append(message, 0), m) || d.CheckMAC(purpose, message, m) {
			t.Fatal("a MAC checks for another purpose, message or key")
		}
		for n := range len(m) {
			if both.CheckMAC(purpose, message, m[:n]) {
				t.Fatalf("%d bytes of a MAC check", n)
			}
		}
		if !d.CheckMAC(purpose, message, d.MAC(purpose, message)) {
			t.Fatal("a data key's MAC does not check")
		}
	})
}
