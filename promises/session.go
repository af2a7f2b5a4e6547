package promises

import "github.com/google/uuid"

// Sessions are no history: they have operations, and no events.
var _ = bring(noun{
	name: "session",
	thing: func(t tester, x *tenant) uuid.UUID {
		return decode[list[session]](t, x.other.call(t, "GET", "/api/sessions", nil).want(t, 200)).Items[0].ID
	},
	bodies: map[string]func(x *tenant) object{
		"log-in": func(x *tenant) object {
			return object{"workspace": x.slug, "email": x.email, "password": x.password}
		},
	},
})

type session struct {
	ID      uuid.UUID
	Current bool
}
