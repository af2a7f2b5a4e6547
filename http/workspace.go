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
	workspaceBody struct {
		ID               uuid.UUID    `json:"id"`
		Slug             string       `json:"slug"`
		Name             string       `json:"name"`
		Plan             string       `json:"plan" enum:"free,pro,business,enterprise"`
		Region           string       `json:"region"`
		HourlyRateCents  *int         `json:"hourly_rate_cents" doc:"EUR cents, for time of members, and of projects, that have no rate of their own."`
		TimeOverlap      bool         `json:"time_overlap" doc:"Whether time entries of one member may overlap."`
		TimeLockedBefore *domain.Date `json:"time_locked_before" doc:"Time that began before this day, as it begins in Brussels, is neither written down, nor changed, nor deleted."`
		LegalHold        bool         `json:"legal_hold" doc:"Whether nothing of the log is pruned, whatever the plan says. The operator of Kluis places and lifts a legal hold."`

		AuditRetentionDays *float64   `json:"audit_retention_days" example:"90" doc:"For how many days the log is kept, by what is in force; null: for ever."`
		AuditRetentionNext *retention `json:"audit_retention_next,omitempty" doc:"What will be in force instead, 30 days after the plan went down; left out when that is nothing else."`

		ErasesAt           *time.Time `json:"erases_at" doc:"When the workspace is erased, unless an admin cancels that before; null while nobody wants it."`
		ErasureRequestedBy *uuid.UUID `json:"erasure_requested_by" doc:"The admin who wants that; null also for the operator of Kluis."`
		ErasureConfirmed   bool       `json:"erasure_confirmed" doc:"Whether a second admin confirmed it."`

		CreatedAt time.Time `json:"created_at"`
		UpdatedAt time.Time `json:"updated_at"`
		Version   int       `json:"version"`
	}
	retention struct {
		From time.Time `json:"from" doc:"From when on."`
		Days *float64  `json:"days" example:"90" doc:"For how many days the log is kept then."`
	}
	workspacePatch struct {
		Name             optional[string]      `json:"name,omitzero" minLength:"1" maxLength:"200"`
		Plan             optional[string]      `json:"plan,omitzero" enum:"free,pro,business,enterprise"`
		HourlyRateCents  nullable[int]         `json:"hourly_rate_cents,omitzero" minimum:"0" maximum:"1000000000" example:"8500" doc:"EUR cents. Time that is there keeps the rate that was in force."`
		TimeOverlap      optional[bool]        `json:"time_overlap,omitzero" doc:"What overlaps already stays when this becomes false."`
		TimeLockedBefore nullable[domain.Date] `json:"time_locked_before,omitzero" format:"date" example:"2026-03-01" doc:"null lifts the lock."`
	}
	workspaceUpdate struct {
		Conditional
		Body workspacePatch
	}
	workspaceErase struct {
		Conditional
		Body struct {
			Confirm string `json:"confirm" maxLength:"100" example:"acme" doc:"The short name of the workspace."`
		}
	}
	workspaceKeep  struct{ Conditional }
	workspaceShown struct {
		Shown
		Body workspaceBody
	}
	workspaceWritten struct {
		Written
		Body workspaceBody
	}
)

func workspace(a *api) {
	register(a, operation{Method: "GET", Path: "/api/workspace", ID: "get-workspace", Tag: "workspace", Status: http.StatusOK,
		Summary: "Get the workspace, as it is or as it was", Access: needs(domain.ReadWorkspace)},
		func(ctx context.Context, by projections.Actor, in *askingAll) (*workspaceShown, error) {
			if at := in.AsOf.Value; at != nil {
				w, mark, err := a.Projections.WorkspaceAsOf(ctx, by.Workspace, *at)
				return &workspaceShown{queryHeaders(mark, w.Version), showWorkspaceAt(w, *at)}, err
			}
			w, mark, err := a.Projections.GetWorkspace(ctx, by.Workspace)
			if err != nil {
				return nil, err
			}
			body, err := a.showWorkspace(ctx, w)
			return &workspaceShown{queryHeaders(mark, w.Version), body}, err
		})
	command(a, operation{Method: "PATCH", Path: "/api/workspace", ID: "update-workspace", Tag: "workspace", Status: http.StatusOK,
		Summary: "Rename the workspace, change its plan or the rules of its time", Access: needs(domain.UpdateWorkspace),
		Description: "When the plan goes down, the log is kept as long as before for 30 more days, and the admins get a mail. What is pruned then, no plan brings back."},
		func(ctx context.Context, r commands.Request, in *workspaceUpdate) (*workspaceWritten, error) {
			b := in.Body
			done, err := a.Commands.UpdateWorkspace(ctx, r, domain.WorkspaceChange{Name: b.Name.Value, Plan: b.Plan.Value,
				HourlyRateCents: b.HourlyRateCents.Optional, TimeOverlap: b.TimeOverlap.Value, TimeLockedBefore: b.TimeLockedBefore.Optional})
			return a.workspaceAnswer(ctx, done, err)
		})
	command(a, operation{Method: "DELETE", Path: "/api/workspace", ID: "erase-workspace", Tag: "workspace", Status: http.StatusAccepted,
		Summary: "Ask for the workspace to be erased, or confirm that as a second admin", Access: needs(domain.DeleteWorkspace).inSession(),
		Description: "All admins get a mail. Until `erases_at`, 72 hours later unless the operator of Kluis chose otherwise, the workspace is served as before, and any admin can cancel. " +
			"A second admin, who was one before it was asked for, confirms it with the same request: then it is five minutes later. " +
			"Everything goes: rows, the log, keys, files with all versions, queues, logins of analysts. A signed certificate stays, and the short name is never given again. " +
			"A backup that is put back later is erased, too, by a ledger outside of the database."},
		func(ctx context.Context, r commands.Request, in *workspaceErase) (*workspaceWritten, error) {
			done, err := a.Commands.EraseWorkspace(ctx, r, in.Body.Confirm)
			return a.workspaceAnswer(ctx, done, err)
		})
	command(a, operation{Method: "DELETE", Path: "/api/workspace/erasure", ID: "keep-workspace", Tag: "workspace", Status: http.StatusOK,
		Summary: "Cancel the erasure of the workspace", Access: needs(domain.DeleteWorkspace).inSession()},
		func(ctx context.Context, r commands.Request, _ *workspaceKeep) (*workspaceWritten, error) {
			done, err := a.Commands.KeepWorkspace(ctx, r)
			return a.workspaceAnswer(ctx, done, err)
		})
}

func (a *api) workspaceAnswer(ctx context.Context, done commands.Result[domain.Workspace], err error) (*workspaceWritten, error) {
	if err != nil {
		return nil, err
	}
	body, err := a.showWorkspace(ctx, done.State)
	return &workspaceWritten{commandHeaders(done.Position, done.State.Version), body}, err
}

// showWorkspace shows the workspace as it is now. Only a retention that ends at an instant takes the time, which is the database's.
func (a *api) showWorkspace(ctx context.Context, w domain.Workspace) (body workspaceBody, err error) {
	var now time.Time
	if w.EarlierUntil != nil {
		if now, err = a.Commands.DB.Now(ctx); err != nil {
			return body, err
		}
	}
	return showWorkspaceAt(w, now), nil
}

func showWorkspaceAt(w domain.Workspace, now time.Time) workspaceBody {
	body := workspaceBody{ID: w.ID, Slug: w.Slug, Name: w.Name, Plan: w.Plan, Region: w.Region, HourlyRateCents: w.HourlyRateCents, TimeOverlap: w.TimeOverlap,
		TimeLockedBefore: w.TimeLockedBefore, LegalHold: w.LegalHold, ErasesAt: w.ErasesAt, ErasureRequestedBy: w.ErasureRequestedBy, ErasureConfirmed: w.ErasureConfirmed, AuditRetentionDays: w.Retention(now).Days(), CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt, Version: w.Version}
	if w.EarlierUntil != nil && w.Retention(*w.EarlierUntil) != w.Retention(now) {
		body.AuditRetentionNext = &retention{w.EarlierUntil.UTC(), w.Retention(*w.EarlierUntil).Days()}
	}
	return body
}
