package domain

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// WorkspaceStream names the stream of the workspace itself.
func WorkspaceStream(id uuid.UUID) string { return "workspace-" + id.String() }

// Plans are the plans of workspaces, the smallest first.
var Plans = []string{"free", "pro", "business", "enterprise"}

// NeedPlan refuses an operation unless the workspace has one of the plans.
func (w Workspace) NeedPlan(plans ...string) error {
	if slices.Contains(plans, w.Plan) {
		return nil
	}
	return Refuse(Forbidden, "plan_required", "this operation requires the plan %s, and the workspace has %s", strings.Join(plans, " or "), w.Plan)
}

// Workspace is one organisation.
type Workspace struct {
	ID               uuid.UUID `json:"id"`
	Slug             string    `json:"slug"`
	Name             string    `json:"name"`
	Plan             string    `json:"plan"`
	Region           string    `json:"region"`
	HourlyRateCents  *int      `json:"hourly_rate_cents"`  // EUR cents, for a member and a project without a rate
	TimeOverlap      bool      `json:"time_overlap"`       // entries of one member may overlap
	TimeLockedBefore *Date     `json:"time_locked_before"` // entries that begin before this day in Brussels cannot change

	RetentionSeconds *int       `json:"retention_seconds"` // the agreed retention; nil: that of the plan
	EarlierSeconds   *int       `json:"earlier_seconds"`   // the retention before a change to a smaller plan; nil: for ever
	EarlierUntil     *time.Time `json:"earlier_until"`     // the end of that earlier retention; nil: it is not in force
	LegalHold        bool       `json:"legal_hold"`        // nothing is pruned

	ErasesAt           *time.Time `json:"erases_at"` // the time of the erasure; nil when none is requested
	ErasureRequestedAt *time.Time `json:"erasure_requested_at"`
	ErasureRequestedBy *uuid.UUID `json:"erasure_requested_by"` // nil for the operator of Kluis
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
		RetentionSeconds *int   `json:"retention_seconds,omitempty"` // the agreed retention; nil: that of the plan
	}
	// WorkspaceHoldPlaced is a legal hold: all events are kept, even beyond the retention.
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
	// WorkspaceRestored says that the log was restored from an older copy: a backup, or a standby that lacked the last moments. The later
	// records are lost, and the log begins its next epoch. The fields count the sessions and codes of the copy that were ended.
	WorkspaceRestored struct {
		Epoch         int `json:"epoch"`
		Sessions      int `json:"sessions"`
		Tokens        int `json:"tokens"`
		Codes         int `json:"codes"`          // of mails: invitations and password resets
		RecoveryCodes int `json:"recovery_codes"` // of second factors, and second factors that were not confirmed
	}
	// WorkspaceMoved says that the whole workspace is in another region from here on.
	WorkspaceMoved struct {
		Region string `json:"region"`
	}
)

// WorkspaceImported says that the records before it are from another workspace and were loaded from its export. Their sealed fields were
// sealed anew, so that the root over them differs between the two workspaces.
type WorkspaceImported struct {
	Slug    string `json:"slug"`
	Region  string `json:"region"`
	Origin  string `json:"origin"`  // the origin of the other log, as in its checkpoints
	Records int64  `json:"records"` // the number of those records
	Root    string `json:"root"`    // over those records in the other log, in base64 (RFC 6962)
	// Baselines is the field of log.pruned after sealing anew, for a log that was pruned before.
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

// NewWorkspace makes a workspace. An empty plan means free.
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

// WorkspaceChange holds the new values of a workspace's fields. A field that is nil or not set stays.
type WorkspaceChange struct {
	Name             *string
	Plan             *string
	HourlyRateCents  Optional[int]
	TimeOverlap      *bool
	TimeLockedBefore Optional[Date]
}

// Change gives the events that a WorkspaceChange makes of the workspace's present state.
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

// TimeOpen refuses a change of time that began before TimeLockedBefore.
func (w Workspace) TimeOpen(start time.Time) error {
	if w.TimeLockedBefore != nil && start.Before(w.TimeLockedBefore.Begin()) {
		return Refuse(Conflict, "period_locked", "time before %s is locked in this workspace: ask an admin to change the lock", *w.TimeLockedBefore)
	}
	return nil
}
