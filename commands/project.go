package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// CreateProject begins a project, and takes its key from all others in the same append: of several with one key, one begins the
// stream of that key.
func (c *Commands) CreateProject(ctx context.Context, r Request, wanted domain.ProjectCreated) (Result[domain.Project], error) {
	id := uuid.Must(uuid.NewV7())
	taken, able := false, 0
	return create(ctx, c, r, projections.Projects, domain.CreateProject, id, func(*attempt) (creation, error) {
		events, err := domain.NewProject(wanted)
		if err == nil {
			err = canLead(wanted.LeadID, able)
		}
		if err == nil && taken {
			err = domain.Refuse(domain.Conflict, "key_taken", "another project has the key %s, or had it: a key is never given again", wanted.Key)
		}
		return creation{events: events, with: []write{{domain.KeyStream(wanted.Key), 0, domain.TakeKey(id)}}}, err
	}, projections.KeyTaken(&taken, wanted.Key), projections.CountAssignable(&able, r.By, present(wanted.LeadID)))
}

// UpdateProject changes fields of a project, archives it or opens it again.
func (c *Commands) UpdateProject(ctx context.Context, r Request, id uuid.UUID, wanted domain.ProjectChange) (Result[domain.Project], error) {
	able := 0
	return changeOne(ctx, c, r, projections.Projects, domain.UpdateProject, id, func(_ *attempt, project domain.Project) (creation, error) {
		events, err := project.Change(wanted)
		if lead := wanted.LeadID.Value; err == nil && (project.LeadID == nil || lead == nil || *lead != *project.LeadID) {
			err = canLead(lead, able)
		}
		return creation{events: events}, err
	}, projections.CountAssignable(&able, r.By, present(wanted.LeadID.Value)))
}

// DeleteProject takes a project away that has no tasks. It guards the stream of the key, which every task that comes in moves.
func (c *Commands) DeleteProject(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Project], error) {
	some, keys := false, 0
	return changeOne(ctx, c, r, projections.Projects, domain.DeleteProject, id, func(_ *attempt, project domain.Project) (creation, error) {
		events, err := project.Delete(some)
		return creation{events: events, guarding: []eventstore.Guard{{Stream: domain.KeyStream(project.Key), Version: keys}}}, err
	}, projections.TasksOfProject(&some, &keys, id))
}

// AddProjectMember makes a member of the workspace one of a project.
func (c *Commands) AddProjectMember(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Project], error) {
	return addPerson(ctx, c, r, projections.Projects, domain.UpdateProject, id, member, domain.Project.AddMember)
}

// RemoveProjectMember takes a member off a project.
func (c *Commands) RemoveProjectMember(ctx context.Context, r Request, id, member uuid.UUID) (Result[domain.Project], error) {
	return removePerson(ctx, c, r, projections.Projects, domain.UpdateProject, id, member, domain.Project.RemoveMember)
}

// addPerson gives a member a part in a thing.
func addPerson[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id, member uuid.UUID,
	decide func(T, uuid.UUID) ([]domain.Event, error),
) (Result[T], error) {
	able := 0
	return changeOne(ctx, c, r, n, p, id, func(_ *attempt, thing T) (creation, error) {
		if able == 0 {
			return creation{}, domain.Missing("member")
		}
		events, err := decide(thing, member)
		return creation{events: events}, err
	}, projections.CountAssignable(&able, r.By, []uuid.UUID{member}))
}

// removePerson takes a member off a thing, who may be one that the actor sees nowhere else.
func removePerson[T any](ctx context.Context, c *Commands, r Request, n *projections.Noun[T], p domain.Permission, id, member uuid.UUID,
	decide func(T, uuid.UUID) ([]domain.Event, error),
) (Result[T], error) {
	there := 0
	return changeOne(ctx, c, r, n, p, id, func(_ *attempt, thing T) (creation, error) {
		events, err := decide(thing, member)
		if err == nil && events == nil && there == 0 {
			err = domain.Missing("member")
		}
		return creation{events: events}, err
	}, projections.CountMembers(&there, r.By, []uuid.UUID{member}))
}

// canLead refuses a lead who is not among those counted as able.
func canLead(lead *uuid.UUID, able int) error {
	if lead != nil && able == 0 {
		return domain.InvalidField("/lead_id", "must be the id of a member whom you may see and who is not deactivated")
	}
	return nil
}
