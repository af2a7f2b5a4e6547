package promises

// The events of two factors are of the member.
var _ = bring(noun{
	name: "two_factor",
	bodies: map[string]func(x *tenant) object{
		"begin-two-factor":     func(x *tenant) object { return object{"password": x.password} },
		"confirm-two-factor":   func(*tenant) object { return object{"code": "000000"} },
		"renew-recovery-codes": func(*tenant) object { return object{"code": "000000"} },
		"disable-two-factor":   func(x *tenant) object { return object{"password": x.password, "code": "000000"} },
	},
})
