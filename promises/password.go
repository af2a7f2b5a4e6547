package promises

// Passwords are no history: they have operations, and no events.
var _ = bring(noun{
	name: "password",
	bodies: map[string]func(x *tenant) object{
		"forget-password": func(x *tenant) object { return object{"workspace": x.slug, "email": x.email} },
		"reset-password": func(x *tenant) object {
			return object{"workspace": x.slug, "email": x.email, "code": "000000", "password": newPassword()}
		},
		"change-password": func(x *tenant) object {
			return object{"current": x.password, "password": newPassword()}
		},
	},
})
