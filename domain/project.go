package domain

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Archived is the status of a project that accepts no new tasks and no time.
const Archived = "archived"

// ProjectStatuses are the statuses in the order of lists.
var ProjectStatuses = []string{Active, Archived}

// Limits of a project: of its name in code points, of its people, of its budget and rate.
const (
	MaxProjectName    = 200
	MaxProjectMembers = 1000
	MaxBudgetMinutes  = 100_000_000
	MaxCents          = 1_000_000_000_000 // EUR 10 billion
)

// Project is a group of tasks. The key stands before the numbers of the tasks: a key never changes, and no other project ever gets it.
type Project struct {
	ID              uuid.UUID   `json:"id"`
	Key             string      `json:"key"`
	Name            string      `json:"name"`
	Description     string      `json:"description"`
	Status          string      `json:"status"`
	LeadID          *uuid.UUID  `json:"lead_id"`
	MemberIDs       []uuid.UUID `json:"member_ids"`
	BudgetMinutes   *int        `json:"budget_minutes"`
	BudgetCents     *int        `json:"budget_cents"`      // of EUR
	HourlyRateCents *int        `json:"hourly_rate_cents"` // of EUR
	CreatedBy       uuid.UUID   `json:"created_by"`
	CreatedAt       time.Time   `json:"created_at"`
	UpdatedAt       time.Time   `json:"updated_at"`
	DeletedAt       *time.Time  `json:"deleted_at"`
	Version         int         `json:"version"`
	Position        int64       `json:"position"`
}

// ProjectStream names the stream of a project.
func ProjectStream(id uuid.UUID) string { return "project-" + id.String() }

// KeyStream names the stream of a project's key. The first event takes the key, so only one of several concurrent creators succeeds. Every
// later event gives a number to a task.
func KeyStream(key string) string { return "key-" + key }

// ProjectChange holds the new values of a project's fields. A field that is nil or not set stays.
type ProjectChange struct {
	Name            *string
	Description     *string
	Status          *string
	LeadID          Optional[uuid.UUID]
	BudgetMinutes   Optional[int]
	BudgetCents     Optional[int]
	HourlyRateCents Optional[int]
}

// NewProject makes a project. An empty status means active. The caller must have checked that the key is free and that the lead may lead.
func NewProject(e ProjectCreated) ([]Event, error) {
	if e.Status == "" {
		e.Status = Active
	}
	after := Project{Key: e.Key, Name: e.Name, Description: e.Description, Status: e.Status,
		BudgetMinutes: e.BudgetMinutes, BudgetCents: e.BudgetCents, HourlyRateCents: e.HourlyRateCents}
	if err := firstError(checkKey(e.Key), after.check()); err != nil {
		return nil, err
	}
	return []Event{e}, nil
}

// TakeKey gives the key to the project, and to no other one.
func TakeKey(project uuid.UUID) []Event { return []Event{ProjectKeyTaken{ProjectID: project}} }

// Change gives the events that a ProjectChange makes of the project's present state. A change to the present values gives no events.
func (p Project) Change(c ProjectChange) ([]Event, error) {
	update := ProjectUpdated{
		Name:            changed(p.Name, c.Name),
		Description:     changed(p.Description, c.Description),
		LeadID:          changedOptional(p.LeadID, c.LeadID),
		BudgetMinutes:   changedOptional(p.BudgetMinutes, c.BudgetMinutes),
		BudgetCents:     changedOptional(p.BudgetCents, c.BudgetCents),
		HourlyRateCents: changedOptional(p.HourlyRateCents, c.HourlyRateCents),
	}
	after := p
	after.update(update)
	set(&after.Status, c.Status)
	if err := after.check(); err != nil {
		return nil, err
	}
	var events []Event
	if update != (ProjectUpdated{}) {
		events = append(events, update)
	}
	switch {
	case after.Status == p.Status:
	case after.Status == Archived:
		events = append(events, ProjectArchived{})
	default:
		events = append(events, ProjectReopened{})
	}
	return events, nil
}

func (p Project) check() error {
	return firstError(
		checkText("/name", p.Name, 1, MaxProjectName),
		checkText("/description", p.Description, 0, MaxBody),
		oneOf("/status", p.Status, ProjectStatuses...),
		checkAmount("/budget_minutes", p.BudgetMinutes, MaxBudgetMinutes),
		checkAmount("/budget_cents", p.BudgetCents, MaxCents),
		checkAmount("/hourly_rate_cents", p.HourlyRateCents, MaxRate),
	)
}

// AddMember adds one person to the project, and RemoveMember removes one. A call that changes nothing gives no events.
func (p Project) AddMember(member uuid.UUID) ([]Event, error) {
	if slices.Contains(p.MemberIDs, member) {
		return nil, nil
	}
	if len(p.MemberIDs) >= MaxProjectMembers {
		return nil, Refuse(Conflict, "too_many_people", "a project has at most %d members", MaxProjectMembers)
	}
	return []Event{ProjectMemberAdded{MemberID: member}}, nil
}

func (p Project) RemoveMember(member uuid.UUID) ([]Event, error) {
	return dropPerson(p.MemberIDs, member, ProjectMemberRemoved{MemberID: member})
}

// Delete deletes the project. The key stays taken. A project with tasks is not deleted, even when all its tasks are deleted, because a
// deleted task can be restored. Nor is a project with time entries, which may be on a bill.
func (p Project) Delete(hasTasks, hasTime bool) ([]Event, error) {
	if hasTasks {
		return nil, Refuse(Conflict, "project_has_tasks",
			"there are tasks in the project, of which some may be deleted: move them to another project, or archive this one")
	}
	if hasTime {
		return nil, Refuse(Conflict, "project_has_time", "there are time entries of the project: move them to another project, or archive this one")
	}
	return []Event{ProjectDeleted{}}, nil
}

// NewTasks refuses new tasks in an archived project.
func (p Project) NewTasks() error {
	if p.Status == Archived {
		return Refuse(Conflict, "project_archived", "the project %s is archived and takes no new tasks: open it again first", p.Key)
	}
	return nil
}

// NewTime refuses time entries in an archived project.
func (p Project) NewTime() error {
	if p.Status == Archived {
		return Refuse(Conflict, "project_archived", "the project %s is archived and takes no time: open it again first", p.Key)
	}
	return nil
}

func checkKey(key string) error {
	if len(key) < 2 || len(key) > 10 || strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return InvalidField("/key", "must have 2 to 10 capitals from A to Z")
	}
	return nil
}

func checkAmount(pointer string, amount *int, most int) error {
	if amount != nil && (*amount < 0 || *amount > most) {
		return InvalidField(pointer, "must be between 0 and %d", most)
	}
	return nil
}

// Parts gives the member's parts in the project.
func (p Project) Parts(member uuid.UUID) Parts {
	return partsOf(has{Creator, p.CreatedBy == member}, has{Lead, p.LeadID != nil && *p.LeadID == member})
}
