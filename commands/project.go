package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// CreateProject creates a project, and claims its key in the same append. Of several projects with one key, one begins the stream of that key, and
// the others are refused.
func (c *Commands) CreateProject(ctx context.Context, r Request, wanted domain.ProjectCreated) (Result[domain.Project], error) {
	id := uuid.Must(uuid.NewV7())
	taken, able := false, 0
	return create(ctx, c, r, projections.Projects, domain.CreateProject, id, func(*attempt) (decision, error) {
		events, err := domain.NewProject(wanted)
		if err == nil {
			err = canLead(wanted.LeadID, able)
		}
		if err == nil && taken {
			err = domain.Refuse(domain.Conflict, "key_taken", "another project has the key %s, or had it: a key is never given again", wanted.Key)
		}
		return decision{events: events, with: []write{{domain.KeyStream(wanted.Key), 0, domain.TakeKey(id)}}}, err
	}, projections.KeyTaken(&taken, wanted.Key), projections.CountAssignable(&able, r.By, present(wanted.LeadID)))
}

// UpdateProject changes fields of a project, archives it or opens it again.
func (c *Commands) UpdateProject(ctx context.Context, r Request, id uuid.UUID, wanted domain.ProjectChange) (Result[domain.Project], error) {
	able := 0
	return changeOne(ctx, c, r, projections.Projects, domain.UpdateProject, id, func(_ *attempt, project domain.Project) (decision, error) {
		events, err := project.Change(wanted)
		if lead := wanted.LeadID.Value; err == nil && (project.LeadID == nil || lead == nil || *lead != *project.LeadID) {
			err = canLead(lead, able)
		}
		return decision{events: events}, err
	}, projections.CountAssignable(&able, r.By, present(wanted.LeadID.Value)))
}

// DeleteProject takes a project away that has neither tasks nor time entries. It guards the stream of the key, which every task that comes in moves,
// and the streams of all members' time, of which every time entry that comes in moves one.
func (c *Commands) DeleteProject(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Project], error) {
	var has projections.InProject
	var placed []eventstore.Guard
	return changeOne(ctx, c, r, projections.Projects, domain.DeleteProject, id, func(_ *attempt, project domain.Project) (decision, error) {
		events, err := project.Delete(has.Tasks, has.Time)
		return decision{events: events, guarding: append(placed, eventstore.Guard{Stream: domain.KeyStream(project.Key), Version: has.Keys})}, err
	}, projections.LoadInProject(&has, id), projections.PlacedTime(&placed))
}

// AddProjectMember makes a member of the workspace a member of a project.
func (c *Commands) AddProjectMember(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Project], error) {
	return addPerson(ctx, c, r, projections.Projects, domain.UpdateProject, id, member, domain.Project.AddMember)
}

// RemoveProjectMember removes a member from a project.
func (c *Commands) RemoveProjectMember(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Project], error) {
	return removePerson(ctx, c, r, projections.Projects, domain.UpdateProject, id, member, domain.Project.RemoveMember)
}

// addPerson is every command that adds a member to a thing. The caller must see the member, who must not be deactivated.
func addPerson[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id, member uuid.UUID,
	decide func(T, uuid.UUID) ([]domain.Event, error),
) (Result[T], error) {
	able := 0
	return changeOne(ctx, c, r, n, p, id, func(_ *attempt, thing T) (decision, error) {
		if able == 0 {
			return decision{}, domain.Missing("member")
		}
		events, err := decide(thing, member)
		return decision{events: events}, err
	}, projections.CountAssignable(&able, r.By, []uuid.UUID{member}))
}

// removePerson is every command that removes a member from a thing. The caller need not see the member elsewhere.
func removePerson[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id, member uuid.UUID,
	decide func(T, uuid.UUID) ([]domain.Event, error),
) (Result[T], error) {
	there := 0
	return changeOne(ctx, c, r, n, p, id, func(_ *attempt, thing T) (decision, error) {
		events, err := decide(thing, member)
		if err == nil && events == nil && there == 0 {
			err = domain.Missing("member")
		}
		return decision{events: events}, err
	}, projections.CountMembers(&there, r.By, []uuid.UUID{member}))
}

// canLead refuses a lead when able, the number of assignable members with that id, is 0.
func canLead(lead *uuid.UUID, able int) error {
	if lead != nil && able == 0 {
		return domain.InvalidField("/lead_id", "must be the id of a member whom you may see and who is not deactivated")
	}
	return nil
}
