package http

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	roleFields struct {
		Name   string         `json:"name" minLength:"1" maxLength:"100" example:"contractor" doc:"Unique, without regard to case, spaces and Unicode form; none of a built-in role."`
		Grants []domain.Grant `json:"grants" maxItems:"200" doc:"The rights of the role, at most your own. A right that is not granted is denied."`
	}
	rolePatch struct {
		Name   optional[string]         `json:"name,omitzero" minLength:"1" maxLength:"100"`
		Grants optional[[]domain.Grant] `json:"grants,omitzero" maxItems:"200" doc:"All of them: those that are not named are taken away, from everybody with the role, at once."`
	}
	roleHistory struct {
		Listing[projections.Place]
		Told
		ID string `path:"id" pattern:"^([a-z]{1,20}|[0-9a-fA-F-]{36})$" example:"manager" doc:"The name of a built-in role, or the id of an own one."`
	}
	roleChange struct {
		ID string `path:"id" pattern:"^([a-z]{1,20}|[0-9a-fA-F-]{36})$" example:"01900000-0000-7000-8000-000000000001" doc:"The id of an own role. Built-in roles never change."`
		Conditional
		Body rolePatch
	}
	roleDoing struct {
		ID string `path:"id" pattern:"^([a-z]{1,20}|[0-9a-fA-F-]{36})$" example:"01900000-0000-7000-8000-000000000001" doc:"The id of an own role. Built-in roles stay."`
		Conditional
	}
	roleList struct {
		Sorted
		Searched
	}
	roleAsked struct {
		ID   string  `path:"id" pattern:"^([a-z]{1,20}|[0-9a-fA-F-]{36})$" example:"manager" doc:"The name of a built-in role, or the id of an own one."`
		AsOf Instant `query:"as_of" doc:"The role as it was at this instant. A built-in one is that of now."`
	}
	roleBody struct {
		domain.Role
		CreatedBy *uuid.UUID `json:"created_by" doc:"null for a built-in role."`
		CreatedAt *time.Time `json:"created_at" doc:"null for a built-in role."`
		UpdatedAt *time.Time `json:"updated_at" doc:"null for a built-in role."`
		Version   int        `json:"version" doc:"Of the roster, when the role last changed; 0 for a built-in role."`

		state domain.OwnRole
	}
)

func role(a *api) {
	listsMade(a, operation{Method: "GET", Path: "/api/roles", ID: "list-roles", Tag: "role", Status: http.StatusOK,
		Summary: "List the roles: those of the workspace's own, the newest first, then the built-in ones", Access: needs(domain.ReadRole),
		Description: "With `as_of` the built-in ones are those of now."},
		projections.Roles, row[roleBody, domain.OwnRole]{state: func(r roleBody) domain.OwnRole { return r.state }}, a.listRoles)
	command(a, operation{Method: "POST", Path: "/api/roles", ID: "create-role", Tag: "role", Status: http.StatusCreated,
		Summary: "Make a role of the workspace's own", Access: needs(domain.CreateRole),
		Description: "A role is a set of grants: a resource, an action, and how far that reaches. `all` is every thing in the workspace, `project` the things in projects of which the caller is a " +
			"member and what `own` reaches, `own` what the caller created, is assigned to or is a viewer of. Nobody grants what they lack (403 `grants_exceed_role`)."},
		func(ctx context.Context, r commands.Request, in *creating[roleFields]) (*wrote[roleBody], error) {
			return roleAnswer(a.Commands.CreateRole(ctx, r, in.Body.Name, in.Body.Grants))
		})
	register(a, operation{Method: "GET", Path: "/api/roles/{id}", ID: "get-role", Tag: "role", Status: http.StatusOK,
		Summary: "Get a role", Access: needs(domain.ReadRole)}, a.getRole)
	command(a, operation{Method: "PATCH", Path: "/api/roles/{id}", ID: "update-role", Tag: "role", Status: http.StatusOK,
		Summary: "Rename a role of the workspace's own, or change what it grants", Access: needs(domain.UpdateRole),
		Description: "What members with the role, and their API tokens, may do changes at once. Nobody grants what they lack (403 `grants_exceed_role`), nor changes a role that grants what they lack " +
			"(403 `role_mightier`)."},
		func(ctx context.Context, r commands.Request, in *roleChange) (*wrote[roleBody], error) {
			id, err := ownRole(in.ID)
			if err != nil {
				return nil, err
			}
			return roleAnswer(a.Commands.UpdateRole(ctx, r, id, in.Body.Name.Value, (*domain.Grants)(in.Body.Grants.Value)))
		})
	command(a, operation{Method: "DELETE", Path: "/api/roles/{id}", ID: "delete-role", Tag: "role", Status: http.StatusNoContent,
		Summary: "Delete a role that nobody has", Access: needs(domain.DeleteRole),
		Description: "While members have the role, those who are invited or deactivated among them, the answer is 409 `role_in_use`, with their number."},
		func(ctx context.Context, r commands.Request, in *roleDoing) (*written204, error) {
			id, err := ownRole(in.ID)
			if err != nil {
				return nil, err
			}
			return noContent(a.Commands.DeleteRole(ctx, r, id))
		})
	register(a, operation{Method: "GET", Path: "/api/roles/{id}/history", ID: "get-role-history", Tag: "role", Status: http.StatusOK,
		Summary: "Who changed what of a role, when", Description: "Of a role that was deleted as well. A built-in role has no history.", Access: needs(domain.ReadRole)},
		func(ctx context.Context, by projections.Actor, in *roleHistory) (*historyShown, error) {
			if _, builtIn := domain.BuiltInRole(in.ID); builtIn {
				mark, err := a.Projections.Fresh(ctx, by.Workspace)
				language, _ := wordsFor(in.AcceptLanguage)
				return &historyShown{queryHeaders(mark, 0), language, "Accept-Language", page[historyLine]{Items: []historyLine{}}}, err
			}
			id, err := ownRole(in.ID)
			if err != nil {
				return nil, err
			}
			return history(a, projections.Roles)(ctx, by, &historyAsked{ByID{ID: id}, in.Listing, in.Told})
		})
}

// ownRole gives the id of an own role, by which alone a role is changed.
func ownRole(id string) (uuid.UUID, error) {
	if _, builtIn := domain.BuiltInRole(id); builtIn {
		return uuid.Nil, domain.BuiltInStays(id)
	}
	own, err := uuid.Parse(id)
	if err != nil {
		return uuid.Nil, domain.Missing("role")
	}
	return own, nil
}

func (a *api) getRole(ctx context.Context, by projections.Actor, in *roleAsked) (*shows[roleBody], error) {
	if role, builtIn := domain.BuiltInRole(in.ID); builtIn {
		mark, err := a.Projections.Fresh(ctx, by.Workspace)
		return &shows[roleBody]{queryHeaders(mark, 0), roleBody{Role: role}}, err
	}
	id, err := ownRole(in.ID)
	if err != nil {
		return nil, err
	}
	role, mark, err := getAt(ctx, a, projections.Roles, by, id, in.AsOf)
	return &shows[roleBody]{queryHeaders(mark, role.Version), showRole(role)}, err
}

// listRoles lists the own roles with the built-in ones, which are in no table. Those have the first ids there are, the mightiest the last: so they
// come behind all others in the order of a list, the newest first, and in their own.
func (a *api) listRoles(ctx context.Context, by projections.Actor, in *roleList, page projections.Page) ([]roleBody, projections.Mark, error) {
	roles, mark, err := projections.Roles.All(ctx, a.Projections, by, in.AsOf.Value)
	if err != nil {
		return nil, mark, err
	}
	builtIn := map[uuid.UUID]domain.Role{}
	for i, role := range domain.BuiltInRoles {
		id := uuid.UUID{15: byte(len(domain.BuiltInRoles) - i)}
		builtIn[id] = role
		roles = append(roles, domain.OwnRole{ID: id, Name: role.Name})
	}
	if page.Text != "" {
		matches, err := projections.Matching(page.Text)
		if err != nil {
			return nil, mark, err
		}
		roles = slices.DeleteFunc(roles, func(r domain.OwnRole) bool { return !matches(r.Name) })
		page.Text = ""
	}
	if roles, err = projections.Roles.ListOf(ctx, a.Projections, by, page, nil, roles); err != nil {
		return nil, mark, err
	}
	bodies := make([]roleBody, len(roles))
	for i, role := range roles {
		bodies[i] = showRole(role)
		if b, is := builtIn[role.ID]; is {
			bodies[i] = roleBody{Role: b, state: domain.OwnRole{ID: role.ID, Name: role.Name}}
		}
	}
	return bodies, mark, nil
}

func roleAnswer(done commands.Result[domain.OwnRole], err error) (*wrote[roleBody], error) {
	return &wrote[roleBody]{commandHeaders(done.Position, done.State.Version), showRole(done.State)}, err
}

func showRole(r domain.OwnRole) roleBody {
	return roleBody{r.Role(), &r.CreatedBy, &r.CreatedAt, &r.UpdatedAt, r.Version, r}
}
