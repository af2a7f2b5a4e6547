package http

import (
	"context"
	"net/http"
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
	// byRole is for the input of an operation on one role.
	byRole struct {
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
		Listing[uuid.UUID]
		AsOf Instant `query:"as_of" doc:"The roles as they were at this instant. The built-in ones are those of now."`
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
	}
)

func role(a *api) {
	register(a, operation{Method: "GET", Path: "/api/roles", ID: "list-roles", Tag: "role", Status: http.StatusOK,
		Summary: "List the roles: those of the workspace's own, the newest first, then the built-in ones", Access: needs(domain.ReadRole)}, a.listRoles)
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
		func(ctx context.Context, by projections.Actor, in *byRole) (*shows[page[historyLine]], error) {
			if _, builtIn := domain.BuiltInRole(in.ID); builtIn {
				mark, err := a.Projections.Fresh(ctx, by.Workspace)
				return &shows[page[historyLine]]{seen(mark, 0), page[historyLine]{Items: []historyLine{}}}, err
			}
			id, err := ownRole(in.ID)
			if err != nil {
				return nil, err
			}
			return history(a, projections.Roles)(ctx, by, &ByID{ID: id})
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
		return &shows[roleBody]{seen(mark, 0), roleBody{Role: role}}, err
	}
	id, err := ownRole(in.ID)
	if err != nil {
		return nil, err
	}
	role, mark, err := getAt(ctx, a, projections.Roles, by, id, in.AsOf)
	return &shows[roleBody]{seen(mark, role.Version), showRole(role)}, err
}

// listRoles lists the built-in roles behind the own ones. As a key they have the first ids there are, the mightiest the last: so in the order of
// the list, the newest first, they come after all others and in their own.
func (a *api) listRoles(ctx context.Context, by projections.Actor, in *roleList) (*shows[page[roleBody]], error) {
	from := pageOf(in.Listing)
	own, mark, err := listAt(ctx, a, projections.Roles, by, in.Listing, in.AsOf)
	if err != nil {
		return nil, err
	}
	var rows []roleBody
	keys := map[string]uuid.UUID{}
	for _, role := range own {
		rows = append(rows, showRole(role))
		keys[role.ID.String()] = role.ID
	}
	for i, role := range domain.BuiltInRoles {
		key := uuid.UUID{15: byte(len(domain.BuiltInRoles) - i)}
		if from.After == nil || key.String() < from.After.ID.String() {
			rows = append(rows, roleBody{Role: role})
			keys[role.ID] = key
		}
	}
	return &shows[page[roleBody]]{seen(mark, 0), paged(rows, in.Listing, func(r roleBody) uuid.UUID { return keys[r.ID] })}, nil
}

func roleAnswer(done commands.Result[domain.OwnRole], err error) (*wrote[roleBody], error) {
	return &wrote[roleBody]{written(done.Position, done.State.Version), showRole(done.State)}, err
}

func showRole(r domain.OwnRole) roleBody {
	return roleBody{r.Role(), &r.CreatedBy, &r.CreatedAt, &r.UpdatedAt, r.Version}
}
