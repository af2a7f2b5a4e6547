package keyring_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/kluis-eu/kluis/internal/keyring"
)

// The keys that sign are those of before for as long as the key file's are: auditors hold their verifier keys.
func TestSigningKeysStay(t *testing.T) {
	t.Parallel()
	key := sha256.Sum256([]byte("a key of this test"))
	ring, err := keyring.Load("", base64.URLEncoding.EncodeToString(key[:]))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ring.PublicKeys()[0].String(), "i6Fwi+37oa2vfaIf+VlRPp1vhPH3lMWPiLvvq3jBamI="; got != want {
		t.Errorf("the public key is %s, it was %s", got, want)
	}
}

// Every key signs; the new one is the first; what is signed opens with either; and no way of printing shows a key.
func TestSign(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	if err := keyring.Create(path); err != nil {
		t.Fatal(err)
	}
	old, err := keyring.Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	before := old.PublicKeys()
	if err := keyring.Prepend(path); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	public := ring.PublicKeys()
	if len(public) != 2 || public[1].String() != before[0].String() || len(public.With(before)) != 2 || len(before.With(public)) != 2 {
		t.Errorf("the keys are %v, they were %v", public, before)
	}
	signers, err := ring.Signers("here")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: "text\n"}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range public {
		if _, err := note.Open(signed, note.VerifierList(keyring.PublicKeys{key}.Verifiers("here")...)); err != nil {
			t.Error(err)
		}
		if _, err := note.Open(signed, note.VerifierList(keyring.PublicKeys{key}.Verifiers("there")...)); err == nil {
			t.Error("it opens under another name")
		}
		text, err := key.VerifierKey("here")
		if err != nil {
			t.Fatal(err)
		}
		if read, err := keyring.ParseVerifierKey(text); err != nil || read.String() != key.String() {
			t.Errorf("%s is read as %v, %v", text, read, err)
		}
		if read, err := keyring.ParsePublicKey(key.String()); err != nil || read.String() != key.String() {
			t.Errorf("%s is read as %v, %v", key, read, err)
		}
	}
	for _, text := range []string{"", "x", "here+01234567+AAAA", strings.Repeat("A", 44)} {
		if _, err := keyring.ParseVerifierKey(text); err == nil {
			t.Errorf("%q is a verifier key", text)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if shown := fmt.Sprintf(verb, signers[0]); len(shown) > 1000 {
			t.Errorf("%s shows %s", verb, shown)
		}
	}
}
