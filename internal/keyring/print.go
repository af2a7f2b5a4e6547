package keyring

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/fernet/fernet-go"
)

// secret is a key that cannot be printed. Format and the like below hide keys wherever they are called, but fmt calls
// no methods on the unexported fields of a struct around a DataKey, and prints even what a pointer there points at
// when the verb does not fit (%s). Of a function it prints the address.
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

// String says only that it is a data key: unlike the keys of the ring, nobody has to tell two of them apart.
func (d DataKey) String() string { return "datakey[hidden]" }

// Format prints String for every verb, %#v and %x included.
func (d DataKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, d.String()) }

// LogValue logs String.
func (d DataKey) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalText makes encoders write String.
func (d DataKey) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
