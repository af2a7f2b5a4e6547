package promises

// Documents about how Kluis is run are no workspace's.
var _ = bring(noun{
	name: "security_pack",
	path: "security-pack",
	bodies: map[string]func(x *tenant) object{
		"request-security-pack": func(x *tenant) object {
			return object{"name": "Ann", "email": x.email, "company": "Works", "documents": []string{"residency"}}
		},
	},
})
