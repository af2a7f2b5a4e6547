package domain

import (
	"time"

	"github.com/google/uuid"
)

// WorkspaceStream names the stream of the workspace itself.
func WorkspaceStream(id uuid.UUID) string { return "workspace-" + id.String() }

// Plans are what a workspace can be on, the smallest first.
var Plans = []string{"free", "pro", "business", "enterprise"}

// Workspace is one customer organisation.
type Workspace struct {
	ID        uuid.UUID `json:"id"`
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Plan      string    `json:"plan"`
	Region    string    `json:"region"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Version   int       `json:"version"`
	Position  int64     `json:"position"`
}

// The events of a workspace.
type (
	WorkspaceCreated struct {
		Slug   string `json:"slug"`
		Name   string `json:"name"`
		Plan   string `json:"plan"`
		Region string `json:"region"`
	}
	WorkspaceRenamed struct {
		Name string `json:"name"`
	}
	WorkspacePlanChanged struct {
		Plan string `json:"plan"`
	}
	// WorkspaceRestored says that the log was put back to what a backup had. What followed that is gone; from here on the log
	// is another one, of the next epoch. What the backup brought back alive has ended, by number.
	WorkspaceRestored struct {
		Epoch         int `json:"epoch"`
		Sessions      int `json:"sessions"`
		Tokens        int `json:"tokens"`
		Codes         int `json:"codes"`          // in mails: of invitations and forgotten passwords
		RecoveryCodes int `json:"recovery_codes"` // of second factors, and second factors that were only proposed
	}
)

func init() {
	register[WorkspaceCreated]("workspace.created")
	register[WorkspaceRenamed]("workspace.renamed")
	register[WorkspacePlanChanged]("workspace.plan_changed")
	register[WorkspaceRestored]("workspace.restored")
}

// Apply folds one event of the workspace's stream into its state.
func (w *Workspace) Apply(r Record) {
	switch e := r.Event.(type) {
	case WorkspaceCreated:
		id, _ := StreamID("workspace", r.Stream)
		*w = Workspace{ID: id, Slug: e.Slug, Name: e.Name, Plan: e.Plan, Region: e.Region, CreatedAt: r.At}
	case WorkspaceRenamed:
		w.Name = e.Name
	case WorkspacePlanChanged:
		w.Plan = e.Plan
	}
	w.UpdatedAt, w.Version, w.Position = r.At, r.Version, r.Position
}

// NewWorkspace begins a workspace. An empty plan is free.
func NewWorkspace(e WorkspaceCreated) ([]Event, error) {
	if e.Plan == "" {
		e.Plan = Plans[0]
	}
	if err := firstError(
		checkSlug("/workspace/slug", e.Slug),
		CheckName("/workspace/name", e.Name),
		oneOf("/plan", e.Plan, Plans...),
	); err != nil {
		return nil, err
	}
	return []Event{e}, nil
}

// Change renames the workspace and changes its plan; nil stays.
func (w Workspace) Change(name, plan *string) ([]Event, error) {
	var events []Event
	if to := changed(w.Name, name); to != nil {
		if err := CheckName("/name", *to); err != nil {
			return nil, err
		}
		events = append(events, WorkspaceRenamed{Name: *to})
	}
	if to := changed(w.Plan, plan); to != nil {
		if err := oneOf("/plan", *to, Plans...); err != nil {
			return nil, err
		}
		events = append(events, WorkspacePlanChanged{Plan: *to})
	}
	return events, nil
}
