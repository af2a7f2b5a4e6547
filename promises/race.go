package promises

// race is two requests of which one makes the other wrong. It is made anew for each try.
type race func(t tester, x *tenant) (one, other request)

// request is one that is still to be sent.
type request struct {
	method, target string
	body           any
}

func (r request) send(t tester, c *client) reply {
	t.Helper()
	return c.call(t, r.method, r.target, r.body)
}
