package http

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	projectFields struct {
		Key             string     `json:"key" pattern:"^[A-Z]{2,10}$" example:"WEB" doc:"Stands before the numbers of the project's tasks, such as WEB-12. It never changes, and no other project ever has it."`
		Name            string     `json:"name" minLength:"1" maxLength:"200"`
		Description     string     `json:"description,omitempty" maxLength:"65536"`
		Status          string     `json:"status,omitempty" enum:"active,archived"`
		LeadID          *uuid.UUID `json:"lead_id,omitempty" doc:"A member who is not deactivated."`
		BudgetMinutes   *int       `json:"budget_minutes,omitempty" minimum:"0" maximum:"100000000"`
		BudgetCents     *int       `json:"budget_cents,omitempty" minimum:"0" maximum:"1000000000000" doc:"Of EUR."`
		HourlyRateCents *int       `json:"hourly_rate_cents,omitempty" minimum:"0" maximum:"1000000000" doc:"Of EUR, for time in the project by members who have no rate of their own."`
	}
	projectPatch struct {
		Name            optional[string]    `json:"name,omitzero" minLength:"1" maxLength:"200"`
		Description     optional[string]    `json:"description,omitzero" maxLength:"65536"`
		Status          optional[string]    `json:"status,omitzero" enum:"active,archived" doc:"One that is archived takes no new tasks; active opens it again."`
		LeadID          nullable[uuid.UUID] `json:"lead_id,omitzero"`
		BudgetMinutes   nullable[int]       `json:"budget_minutes,omitzero" minimum:"0" maximum:"100000000"`
		BudgetCents     nullable[int]       `json:"budget_cents,omitzero" minimum:"0" maximum:"1000000000000"`
		HourlyRateCents nullable[int]       `json:"hourly_rate_cents,omitzero" minimum:"0" maximum:"1000000000" doc:"Of EUR. Time that is there keeps the rate that was in force."`
	}

	projectList struct {
		Sorted
		Searched
		Status       []string   `query:"status" enum:"active,archived" maxItems:"2"`
		Key          []string   `query:"key" maxItems:"100" pattern:"^[A-Z]{2,10}$" example:"WEB"`
		LeadID       RefsOrNone `query:"lead_id"`
		MemberID     RefsOrNone `query:"member_id"`
		CreatedBy    Refs       `query:"created_by"`
		UpdatedSince Instant    `query:"updated_since" doc:"Those that changed at this instant or later."`
	}
)

var spentRow = rowOf(func(p projections.ProjectSpent) domain.Project { return p.Project },
	func(p domain.Project) projections.ProjectSpent { return projections.ProjectSpent{Project: p} })

func project(a *api) {
	lists(a, operation{Method: "GET", Path: "/api/projects", ID: "list-projects", Tag: "project", Status: http.StatusOK,
		Summary: "List projects", Access: needs(domain.ReadProject)}, projections.Projects,
		func(ctx context.Context, by projections.Actor, in *projectList, page projections.Page) ([]projections.Shown, projections.Mark, error) {
			return projections.Projects.ListShown(ctx, a.Projections, by, page, projections.ProjectFilter{Status: in.Status, Key: in.Key,
				Lead: in.LeadID.ids(), Member: in.MemberID.ids(), Creator: in.CreatedBy.Values, Since: in.UpdatedSince.Value})
		})
	command(a, operation{Method: "POST", Path: "/api/projects", ID: "create-project", Tag: "project", Status: http.StatusCreated,
		Summary: "Create a project", Access: needs(domain.CreateProject)},
		func(ctx context.Context, r commands.Request, in *creating[projectFields]) (*wrote[domain.Project], error) {
			return answered(a.Commands.CreateProject(ctx, r, domain.ProjectCreated(in.Body)))
		})
	register(a, operation{Method: "GET", Path: "/api/projects/{id}", ID: "get-project", Tag: "project", Status: http.StatusOK,
		Summary: "Get a project, as it is or as it was", Access: needs(domain.ReadProject)},
		gettingRow(a, projections.Projects, spentRow, a.Projections.GetProject))
	command(a, operation{Method: "PATCH", Path: "/api/projects/{id}", ID: "update-project", Tag: "project", Status: http.StatusOK,
		Summary: "Change fields of a project, archive it or open it again", Access: needs(domain.UpdateProject)},
		func(ctx context.Context, r commands.Request, in *changing[projectPatch]) (*wrote[domain.Project], error) {
			b := in.Body
			return answered(a.Commands.UpdateProject(ctx, r, in.ID, domain.ProjectChange{
				Name: b.Name.Value, Description: b.Description.Value, Status: b.Status.Value, LeadID: b.LeadID.Optional,
				BudgetMinutes: b.BudgetMinutes.Optional, BudgetCents: b.BudgetCents.Optional, HourlyRateCents: b.HourlyRateCents.Optional,
			}))
		})
	command(a, operation{Method: "DELETE", Path: "/api/projects/{id}", ID: "delete-project", Tag: "project", Status: http.StatusNoContent,
		Summary: "Delete a project; its key is never given again", Access: needs(domain.DeleteProject)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DeleteProject(ctx, r, in.ID))
		})
	register(a, operation{Method: "GET", Path: "/api/projects/{id}/history", ID: "get-project-history", Tag: "project", Status: http.StatusOK,
		Summary: "Who changed what in a project, when", Access: needs(domain.ReadProject)}, history(a, projections.Projects))

	type person func(*commands.Commands, context.Context, commands.Request, uuid.UUID, uuid.UUID) (commands.Result[domain.Project], error)
	for _, c := range []struct {
		method, id, summary string
		change              person
	}{
		{"PUT", "add-project-member", "Make a member one of a project", (*commands.Commands).AddProjectMember},
		{"DELETE", "remove-project-member", "Take a member off a project", (*commands.Commands).RemoveProjectMember},
	} {
		command(a, operation{Method: c.method, Path: "/api/projects/{id}/members/{member_id}", ID: c.id, Tag: "project",
			Status: http.StatusNoContent, Summary: c.summary, Access: needs(domain.UpdateProject)},
			func(ctx context.Context, r commands.Request, in *personal) (*written204, error) {
				return noContent(c.change(a.Commands, ctx, r, in.ID, in.MemberID))
			})
	}
}
