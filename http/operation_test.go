package http

import (
	"context"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

func TestWrongDeclarationsDoNotStart(t *testing.T) {
	good := operation{Method: "GET", Path: "/api/x", ID: "x", Tag: "x", Summary: "X", Status: 200, Access: signedIn}
	with := func(change func(*operation)) operation {
		op := good
		change(&op)
		return op
	}
	member := func(ops ...operation) func(*api) {
		return func(a *api) {
			for _, op := range ops {
				register(a, op, func(context.Context, projections.Actor, *struct{}) (*noteOutput, error) { return nil, nil })
			}
		}
	}
	anybody := func(op operation) func(*api) {
		return func(a *api) {
			registerPublic(a, op, func(context.Context, *struct{}) (*noteOutput, error) { return nil, nil })
		}
	}
	for name, test := range map[string]struct {
		noun func(*api)
		says string
	}{
		"no rule":                 {member(with(func(o *operation) { o.Access = access{} })), "does not say who may call it"},
		"no rule, public":         {anybody(with(func(o *operation) { o.Access = access{} })), "does not say who may call it"},
		"public with a member":    {member(with(func(o *operation) { o.Access = public })), "use registerPublic"},
		"a member in public":      {anybody(good), "use register"},
		"no id":                   {member(with(func(o *operation) { o.ID = "" })), "needs a method"},
		"no status":               {member(with(func(o *operation) { o.Status = 0 })), "needs a method"},
		"two of one id":           {member(good, with(func(o *operation) { o.Path = "/api/y" })), "two of x"},
		"two of one route":        {member(good, with(func(o *operation) { o.ID = "y" })), "two of GET /api/x"},
		"a made-up permission":    {func(*api) { needs(domain.Permission{Resource: "task", Action: "fly"}) }, "no permission task:fly"},
		"the zero permission":     {func(*api) { needs(domain.Permission{}) }, "no permission"},
		"a method without a slot": {member(with(func(o *operation) { o.Method = "FETCH" })), "FETCH"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				said, _ := recover().(string)
				if !strings.Contains(said, test.says) {
					t.Errorf("panicked with %q, not %q", said, test.says)
				}
			}()
			_, _ = newServer((&site{t: t, log: &lockedBuffer{}}).options(), []func(*api){test.noun})
			t.Error("it started")
		})
	}
}

type hidden struct {
	ID string `path:"id"`
}

// What huma would leave empty in silence does not start either.
func TestInputsThatAreNotSeenDoNotStart(t *testing.T) {
	op := operation{Method: "GET", Path: "/api/x/{id}", ID: "x", Tag: "x", Summary: "X", Status: 200, Access: public}
	for says, noun := range map[string]func(*api){
		"embedded hidden": func(a *api) {
			registerPublic(a, op, func(context.Context, *struct{ hidden }) (*noteOutput, error) { return nil, nil })
		},
		"path parameter id": func(a *api) {
			registerPublic(a, op, func(context.Context, *struct{}) (*noteOutput, error) { return nil, nil })
		},
	} {
		func() {
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, says) {
					t.Errorf("panicked with %q, not %q", said, says)
				}
			}()
			_, _ = newServer((&site{t: t, log: &lockedBuffer{}}).options(), []func(*api){noun})
			t.Error("it started")
		}()
	}
}

func TestOptionsMustBeComplete(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("a server without authentication started")
	}
}
