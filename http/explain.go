package http

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	accessAsked struct {
		ByID
		Resource string `query:"resource" required:"true" example:"task" doc:"What the thing is: a resource, as grants name it."`
		Thing    Ref    `query:"id" doc:"The id of the thing, which the caller must see. Left out: what the member may do with things of the resource in general."`
	}
	accessBody struct {
		MemberID uuid.UUID        `json:"member_id"`
		Status   string           `json:"status" enum:"invited,active,deactivated,placeholder" doc:"Of the member: nobody but an active one may do anything."`
		Role     domain.Role      `json:"role" doc:"The member's, with what it grants; the caller's own, with what is in force."`
		Resource string           `json:"resource" example:"task"`
		ThingID  *uuid.UUID       `json:"thing_id" doc:"null when the question is about things in general."`
		Gone     bool             `json:"gone" doc:"The thing, or what it belongs to, was deleted."`
		Parts    []domain.Part    `json:"parts" doc:"The parts that the member has in the thing, such as creator, lead, assignee, viewer, worker, project_member."`
		Actions  []domain.Verdict `json:"actions" doc:"For each action that there is on the resource, whether the member may, and why."`
	}
)

func explain(a *api) {
	const path = "/api/members/{id}/access"
	register(a, operation{Method: "GET", Path: path, ID: "explain-access", Tag: "member", Status: http.StatusOK,
		Summary: "Explain what a member may do with a thing, and why", Access: needs(domain.ReadMember),
		Description: "Each answer names the role, the grant, its scope, and what the member has to do with the thing. It is the rule by which the API itself decides, as it is now; " +
			"that a member reaches a thing says nothing about rules of the thing, such as that a project with tasks is not deleted."}, a.explainAccess)
	for _, p := range operationAt(a.huma.OpenAPI().Paths[path], "GET").Parameters {
		if p.Name == "resource" {
			p.Schema.Enum = values(parts(func(p domain.Permission) string { return p.Resource }))
			p.Schema.PrecomputeMessages()
		}
	}
}

func (a *api) explainAccess(ctx context.Context, by projections.Actor, in *accessAsked) (*shows[accessBody], error) {
	access, mark, err := a.Projections.Access(ctx, by, in.ID, in.Resource, in.Thing.Value)
	body := accessBody{MemberID: access.Member.ID, Status: access.Member.Status, Role: access.Role, Resource: in.Resource, ThingID: in.Thing.Value,
		Gone: access.Gone, Parts: append([]domain.Part{}, access.Parts...), Actions: access.Verdicts}
	return &shows[accessBody]{queryHeaders(mark, 0), body}, err
}
