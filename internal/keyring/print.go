package keyring

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/fernet/fernet-go"
)

// secret is a key that cannot be printed: of a function, fmt prints the address. Format and the methods below hide keys only where fmt calls
// them. It does not call them on the unexported fields of a struct around a DataKey, and there it prints even what a pointer points to
// when the verb does not fit (%s).
type secret func() *fernet.Key

func hide(key *fernet.Key) secret { return func() *fernet.Key { return key } }

// String names the keys by their IDs.
func (k *Keyring) String() string {
	if k == nil {
		return "keyring[]"
	}
	return "keyring[" + strings.Join(k.IDs(), " ") + "]"
}

// Format prints String for every verb, %#v and %x included.
func (k *Keyring) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// LogValue logs String.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText makes encoders write String.
func (k *Keyring) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String says only that this is a data key. Unlike the keys of the ring, nobody has to tell two of them apart.
func (d DataKey) String() string { return "datakey[hidden]" }

// Format prints String for every verb, %#v and %x included.
func (d DataKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, d.String()) }

// LogValue logs String.
func (d DataKey) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalText makes encoders write String.
func (d DataKey) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
