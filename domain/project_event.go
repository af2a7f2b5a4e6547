package domain

import "github.com/google/uuid"

// The events of a project, and ProjectKeyTaken in the stream of its key.
type (
	ProjectCreated struct {
		Key             string     `json:"key"`
		Name            string     `json:"name"`
		Description     string     `json:"description,omitempty"`
		Status          string     `json:"status"`
		LeadID          *uuid.UUID `json:"lead_id,omitempty"`
		BudgetMinutes   *int       `json:"budget_minutes,omitempty"`
		BudgetCents     *int       `json:"budget_cents,omitempty"`
		HourlyRateCents *int       `json:"hourly_rate_cents,omitempty"`
	}
	ProjectKeyTaken struct {
		ProjectID uuid.UUID `json:"project_id"`
	}
	// ProjectUpdated holds only the fields that changed.
	ProjectUpdated struct {
		Name            *string             `json:"name,omitempty"`
		Description     *string             `json:"description,omitempty"`
		LeadID          Optional[uuid.UUID] `json:"lead_id,omitzero"`
		BudgetMinutes   Optional[int]       `json:"budget_minutes,omitzero"`
		BudgetCents     Optional[int]       `json:"budget_cents,omitzero"`
		HourlyRateCents Optional[int]       `json:"hourly_rate_cents,omitzero"`
	}
	ProjectArchived    struct{}
	ProjectReopened    struct{}
	ProjectMemberAdded struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	ProjectMemberRemoved struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	ProjectDeleted struct{}
)

func init() {
	register[ProjectCreated]("project.created")
	register[ProjectKeyTaken]("project.key_taken")
	register[ProjectUpdated]("project.updated")
	register[ProjectArchived]("project.archived")
	register[ProjectReopened]("project.reopened")
	register[ProjectMemberAdded]("project.member_added")
	register[ProjectMemberRemoved]("project.member_removed")
	register[ProjectDeleted]("project.deleted")
}

// Apply folds one event of the project's stream into its state.
func (p *Project) Apply(r Record) {
	switch e := r.Event.(type) {
	case ProjectCreated:
		id, _ := StreamID("project", r.Stream)
		*p = Project{ID: id, Key: e.Key, Name: e.Name, Description: e.Description, Status: e.Status, LeadID: e.LeadID, MemberIDs: list(nil),
			BudgetMinutes: e.BudgetMinutes, BudgetCents: e.BudgetCents, HourlyRateCents: e.HourlyRateCents, CreatedBy: r.Who(), CreatedAt: r.When()}
	case ProjectUpdated:
		p.update(e)
	case ProjectArchived:
		p.Status = Archived
	case ProjectReopened:
		p.Status = Active
	case ProjectMemberAdded:
		p.MemberIDs = with(p.MemberIDs, e.MemberID)
	case ProjectMemberRemoved:
		p.MemberIDs = without(p.MemberIDs, e.MemberID)
	case ProjectDeleted:
		p.DeletedAt = &r.At
	}
	p.UpdatedAt, p.Version, p.Position = r.At, r.Version, r.Position
}

func (p *Project) update(e ProjectUpdated) {
	set(&p.Name, e.Name)
	set(&p.Description, e.Description)
	setOptional(&p.LeadID, e.LeadID)
	setOptional(&p.BudgetMinutes, e.BudgetMinutes)
	setOptional(&p.BudgetCents, e.BudgetCents)
	setOptional(&p.HourlyRateCents, e.HourlyRateCents)
}
