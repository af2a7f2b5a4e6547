package commands

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A request with the right code that fails in an outage, or loses its answer, uses up no attempt. The same request may be sent again, at once and any
// number of times.
func TestAcceptAgainAfterAnOutage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	invited, code := h.found(t).invite(t, "member")
	for range 2 * codeAttempts {
		w, hash, err := h.locate(t.Context(), newAccountName(invited.slug, invited.email))
		if err != nil {
			t.Fatal(err)
		}
		member, stored, err := h.invited(t.Context(), w, hash, code)
		if err == nil {
			err = h.claimInvitation(t.Context(), w, member, stored, "lost")
		}
		if _, refused := h.AcceptInvitation(t.Context(), home, invited.slug, invited.email, code, invited.password); refusedAs(refused) != "attempts_under_way" {
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

// The same holds for a sign-up: its workspace is made as soon as the database allows.
func TestVerifyAgainAfterAnOutage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, settings{})
	slug := "w" + uuid.NewString()[:13]
	email := "ada@" + slug + ".example"
	id := ok(h.SignUp(t.Context(), Signup{Slug: slug, Name: slug, Email: email, FullName: "Ada Lovelace", Password: "correct horse " + uuid.NewString(), From: home}))
	code := h.codes(t, "signup_code", email)[0]
	admin := ok(pgx.Connect(t.Context(), pgtest.Superuser(t, h.url)))
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`create function kluis.no_room() returns trigger language plpgsql as $$ begin raise exception 'no room' using errcode = '53100'; end $$;
		create trigger no_room before insert on kluis.workspace for each row execute function kluis.no_room()`)
	for range 2 * codeAttempts {
		if _, err := h.VerifySignup(t.Context(), home, id, code); !pg.Is(err, "53100") {
			t.Fatalf("verified on a full disk: %v", err)
		}
	}
	exec(`drop trigger no_room on kluis.workspace`)
	ok(h.VerifySignup(t.Context(), home, id, code))
}
