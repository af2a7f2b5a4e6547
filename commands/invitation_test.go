package commands

import (
	"testing"
)

// A request with the right code that fails, in an outage or with its answer lost, uses up nothing: the same request may be sent again, at once and
// as often as it takes.
func TestAcceptAgainAfterAnOutage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	invited, code := h.found(t).invite(t, "member")
	for range 2 * codeAttempts {
		w, hash, err := h.locate(t.Context(), name(invited.slug, invited.email))
		if err != nil {
			t.Fatal(err)
		}
		member, stored, err := h.invited(t.Context(), w, hash, code)
		if err == nil {
			err = h.claimInvitation(t.Context(), w, member, stored, "lost")
		}
		if _, refused := h.AcceptInvitation(t.Context(), home, invited.slug, invited.email, code, invited.password); refusedAs(refused) != "bad_code" {
			t.Fatalf("accepted beside a claim: %v", refused)
		}
		if err == nil {
			err = h.unclaimInvitation(t.Context(), w, member, stored, "lost")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(h.AcceptInvitation(t.Context(), home, invited.slug, invited.email, code, invited.password))
}
