package domain

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// WorkspaceStream names the stream of the workspace itself.
func WorkspaceStream(id uuid.UUID) string { return "workspace-" + id.String() }

// Plans are what a workspace can be on, the smallest first.
var Plans = []string{"free", "pro", "business", "enterprise"}

// NeedPlan refuses what takes one of some plans.
func (w Workspace) NeedPlan(plans ...string) error {
	if slices.Contains(plans, w.Plan) {
		return nil
	}
	return Refuse(Forbidden, "plan_required", "this takes the plan %s, and the workspace has %s", strings.Join(plans, " or "), w.Plan)
}

// Workspace is one customer organisation.
type Workspace struct {
	ID               uuid.UUID `json:"id"`
	Slug             string    `json:"slug"`
	Name             string    `json:"name"`
	Plan             string    `json:"plan"`
	Region           string    `json:"region"`
	HourlyRateCents  *int      `json:"hourly_rate_cents"`  // of EUR, where neither the member nor the project has one
	TimeOverlap      bool      `json:"time_overlap"`       // entries of one member may overlap
	TimeLockedBefore *Date     `json:"time_locked_before"` // nothing that began before this day, as it begins in Brussels, changes

	RetentionSeconds *int       `json:"retention_seconds"` // for how long events are kept, as agreed; nil: as the plan says
	EarlierSeconds   *int       `json:"earlier_seconds"`   // and before the plan went down; nil: for ever
	EarlierUntil     *time.Time `json:"earlier_until"`     // when that ends to be in force; nil: it is not
	LegalHold        bool       `json:"legal_hold"`        // nothing is pruned

	ErasesAt           *time.Time `json:"erases_at"` // when it is to be erased; nil while nobody wants that
	ErasureRequestedAt *time.Time `json:"erasure_requested_at"`
	ErasureRequestedBy *uuid.UUID `json:"erasure_requested_by"` // nil for whoever operates Kluis
	ErasureConfirmed   bool       `json:"erasure_confirmed"`    // by a second admin

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
		Plan             string `json:"plan"`
		RetentionSeconds *int   `json:"retention_seconds,omitempty"` // as agreed; nil: as the plan says
	}
	// WorkspaceHoldPlaced has everything kept, whatever the plan says: a legal hold.
	WorkspaceHoldPlaced struct {
		Reason string `json:"reason,omitempty"`
	}
	WorkspaceHoldLifted struct{}
	// WorkspaceTimeRulesChanged holds only the rules that changed.
	WorkspaceTimeRulesChanged struct {
		HourlyRateCents  Optional[int]  `json:"hourly_rate_cents,omitzero"`
		TimeOverlap      *bool          `json:"time_overlap,omitempty"`
		TimeLockedBefore Optional[Date] `json:"time_locked_before,omitzero"`
	}
	// WorkspaceRestored says that the log was put back to what an older copy had: a backup, or a standby that lacked the last
	// moments. What followed that is gone; from here on the log is another one, of the next epoch. What a backup brought back alive has
	// ended, by number.
	WorkspaceRestored struct {
		Epoch         int `json:"epoch"`
		Sessions      int `json:"sessions"`
		Tokens        int `json:"tokens"`
		Codes         int `json:"codes"`          // in mails: of invitations and forgotten passwords
		RecoveryCodes int `json:"recovery_codes"` // of second factors, and second factors that were only proposed
	}
	// WorkspaceMoved says that all of the workspace is in another region from here on.
	WorkspaceMoved struct {
		Region string `json:"region"`
	}
)

// WorkspaceImported says that the records up to it happened in another workspace, and were loaded from an export of that one: what is sealed
// in them was sealed anew, so that their root is another here than it was there.
type WorkspaceImported struct {
	Slug    string `json:"slug"`
	Region  string `json:"region"`
	Origin  string `json:"origin"`  // of the log that they are from, as checkpoints name it
	Records int64  `json:"records"` // of it
	Root    string `json:"root"`    // over them, there, in base64 (RFC 6962)
	// Baselines is the one of log.pruned, sealed anew: of a log that was pruned before.
	Baselines string `json:"baselines,omitempty"`
}

func init() {
	register[WorkspaceImported]("workspace.imported")
	register[WorkspaceCreated]("workspace.created")
	register[WorkspaceRenamed]("workspace.renamed")
	register[WorkspacePlanChanged]("workspace.plan_changed")
	register[WorkspaceHoldPlaced]("workspace.hold_placed")
	register[WorkspaceHoldLifted]("workspace.hold_lifted")
	register[WorkspaceTimeRulesChanged]("workspace.time_rules_changed")
	register[WorkspaceRestored]("workspace.restored")
	register[WorkspaceMoved]("workspace.moved")
	register[WorkspaceErasureRequested]("workspace.erasure_requested")
	register[WorkspaceErasureConfirmed]("workspace.erasure_confirmed")
	register[WorkspaceErasureCancelled]("workspace.erasure_cancelled")
}

// Apply folds one event of the workspace's stream into its state.
func (w *Workspace) Apply(r Record) {
	switch e := r.Event.(type) {
	case WorkspaceCreated:
		id, _ := StreamID("workspace", r.Stream)
		*w = Workspace{ID: id, Slug: e.Slug, Name: e.Name, Plan: e.Plan, Region: e.Region, CreatedAt: r.At}
	case WorkspaceImported:
		w.Slug, w.Region = e.Slug, e.Region
	case WorkspaceRenamed:
		w.Name = e.Name
	case WorkspacePlanChanged:
		w.changePlan(e, r.At)
	case WorkspaceHoldPlaced:
		w.LegalHold = true
	case WorkspaceHoldLifted:
		w.LegalHold = false
	case WorkspaceMoved:
		w.Region = e.Region
	case WorkspaceTimeRulesChanged:
		w.setTimeRules(e)
	default:
		w.applyErasure(r)
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

// WorkspaceChange is what a member wants changed; what is nil or not set stays.
type WorkspaceChange struct {
	Name             *string
	Plan             *string
	HourlyRateCents  Optional[int]
	TimeOverlap      *bool
	TimeLockedBefore Optional[Date]
}

// Change decides what a WorkspaceChange means for the workspace as it is.
func (w Workspace) Change(c WorkspaceChange) ([]Event, error) {
	var events []Event
	if to := changed(w.Name, c.Name); to != nil {
		if err := CheckName("/name", *to); err != nil {
			return nil, err
		}
		events = append(events, WorkspaceRenamed{Name: *to})
	}
	if to := changed(w.Plan, c.Plan); to != nil {
		if err := oneOf("/plan", *to, Plans...); err != nil {
			return nil, err
		}
		events = append(events, WorkspacePlanChanged{Plan: *to})
	}
	rules := WorkspaceTimeRulesChanged{
		HourlyRateCents:  changedOptional(w.HourlyRateCents, c.HourlyRateCents),
		TimeOverlap:      changed(w.TimeOverlap, c.TimeOverlap),
		TimeLockedBefore: changedOptional(w.TimeLockedBefore, c.TimeLockedBefore),
	}
	if rules != (WorkspaceTimeRulesChanged{}) {
		events = append(events, rules)
	}
	return events, firstError(checkAmount("/hourly_rate_cents", c.HourlyRateCents.Value, MaxRate), checkDate("/time_locked_before", c.TimeLockedBefore.Value))
}

func (w *Workspace) setTimeRules(e WorkspaceTimeRulesChanged) {
	setOptional(&w.HourlyRateCents, e.HourlyRateCents)
	set(&w.TimeOverlap, e.TimeOverlap)
	setOptional(&w.TimeLockedBefore, e.TimeLockedBefore)
}

// TimeOpen refuses to change time that began before the day up to which the workspace's time is locked.
func (w Workspace) TimeOpen(start time.Time) error {
	if w.TimeLockedBefore != nil && start.Before(w.TimeLockedBefore.Begin()) {
		return Refuse(Conflict, "period_locked", "time before %s is locked in this workspace: an admin can lift that", *w.TimeLockedBefore)
	}
	return nil
}
