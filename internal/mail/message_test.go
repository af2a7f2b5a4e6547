package mail

import (
	"errors"
	"testing"
)

// Addresses that people read as one are one; what reads like another address and is none of a person's is refused.
func TestNormal(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"bob@corp.example": "bob@corp.example", "Bob@CORP.example": "bob@corp.example", "ｂｏｂ@corp.example": "bob@corp.example",
		"bob+x@corp.example": "bob+x@corp.example", "o'hara_%{a}~!#$&*/=?^`|@corp.example": "o'hara_%{a}~!#$&*/=?^`|@corp.example",
		"rene\u0301@corp.example": "ren\u00e9@corp.example", "RENÉ@corp.example": "ren\u00e9@corp.example", "b@BÜCHER.example": "b@xn--bcher-kva.example",
	} {
		if got, err := Normal(typed); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", typed, got, err, want)
		}
	}
	for _, typed := range []string{"", "@", "bob", "bo\u200bb@corp.example", "bob\u00ad@corp.example", "\u202ebob@corp.example", "bo\u3164b@corp.example", "ﬁn@corp.example", "bob\n@corp.example"} {
		if got, err := Normal(typed); !errors.Is(err, ErrRefused) {
			t.Errorf("%q is %q, %v", typed, got, err)
		}
	}
}
