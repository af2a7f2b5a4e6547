package http

import (
	"context"
	"net/http"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	policyBody struct {
		TwoFactorRoles []string   `json:"two_factor_roles" doc:"The roles of which two factors are asked, by the name of a built-in one or the id of an own one; all alone for every role."`
		UpdatedAt      *time.Time `json:"updated_at" doc:"null while the policy has never been changed."`
		Version        int        `json:"version" doc:"Of the roster, when the policy last changed."`
	}
	policyUpdate struct {
		Conditional
		Body struct {
			Password       string             `json:"password,omitempty" maxLength:"1024" doc:"Yours, once more, for whatever is changed. A wrong one counts as a failed login."`
			TwoFactorRoles optional[[]string] `json:"two_factor_roles,omitzero" maxItems:"100" doc:"Names of built-in roles and ids of own ones, or all alone; none: two factors are everybody's own choice."`
		}
	}
	policyShown struct {
		Shown
		Body policyBody
	}
	policyWritten struct {
		Written
		Body policyBody
	}
)

func policy(a *api) {
	register(a, operation{Method: "GET", Path: "/api/policy", ID: "get-policy", Tag: "workspace", Status: http.StatusOK,
		Summary: "Get what the workspace asks of its members, or asked", Access: needs(domain.ReadWorkspace)},
		func(ctx context.Context, by projections.Actor, in *askingAll) (*policyShown, error) {
			if at := in.AsOf.Value; at != nil {
				p, mark, err := a.Projections.PolicyAsOf(ctx, by.Workspace, *at)
				return &policyShown{queryHeaders(mark, p.Version), showPolicy(p)}, err
			}
			p, mark, err := a.Projections.GetPolicy(ctx, by.Workspace)
			return &policyShown{queryHeaders(mark, p.Version), showPolicy(p)}, err
		})
	command(a, operation{Method: "PATCH", Path: "/api/policy", ID: "update-policy", Tag: "workspace", Status: http.StatusOK,
		Summary: "Change what the workspace asks of its members",
		Description: "Two factors that are asked of a role are asked at once: members of that role who have not turned them on can do nothing that needs a permission, " +
			"with a session or an API token, from their next request on. You must have them on yourself (403 `two_factor_required`), " +
			"and one of the active admins of whom they are asked must (409 `last_admin`).",
		Access: needs(domain.UpdateWorkspace).inSession()},
		func(ctx context.Context, r commands.Request, in *policyUpdate) (*policyWritten, error) {
			done, err := a.Commands.UpdatePolicy(ctx, r, in.Body.TwoFactorRoles.Value, in.Body.Password)
			return &policyWritten{commandHeaders(done.Position, done.State.Version), showPolicy(done.State)}, err
		})
}

func showPolicy(p domain.Policy) policyBody {
	body := policyBody{TwoFactorRoles: p.TwoFactorRoles, Version: p.Version}
	if body.TwoFactorRoles == nil {
		body.TwoFactorRoles = []string{}
	}
	if p.Version > 0 {
		body.UpdatedAt = &p.UpdatedAt
	}
	return body
}
