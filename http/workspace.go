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
		ID        uuid.UUID `json:"id"`
		Slug      string    `json:"slug"`
		Name      string    `json:"name"`
		Plan      string    `json:"plan" enum:"free,pro,business,enterprise"`
		Region    string    `json:"region"`
		CreatedAt time.Time `json:"created_at"`
		UpdatedAt time.Time `json:"updated_at"`
		Version   int       `json:"version"`
	}
	workspacePatch struct {
		Name optional[string] `json:"name,omitzero" minLength:"1" maxLength:"200"`
		Plan optional[string] `json:"plan,omitzero" enum:"free,pro,business,enterprise"`
	}
	workspaceUpdate struct {
		Conditional
		Body workspacePatch
	}
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
		Summary: "Get the workspace", Access: needs(domain.ReadWorkspace)},
		func(ctx context.Context, by projections.Actor, _ *struct{}) (*workspaceShown, error) {
			w, mark, err := a.Views.GetWorkspace(ctx, by.Workspace)
			return &workspaceShown{seen(mark, w.Version), showWorkspace(w)}, err
		})
	command(a, operation{Method: "PATCH", Path: "/api/workspace", ID: "update-workspace", Tag: "workspace", Status: http.StatusOK,
		Summary: "Rename the workspace, or change its plan", Access: needs(domain.UpdateWorkspace)},
		func(ctx context.Context, r commands.Request, in *workspaceUpdate) (*workspaceWritten, error) {
			done, err := a.Commands.UpdateWorkspace(ctx, r, in.Body.Name.Value, in.Body.Plan.Value)
			return &workspaceWritten{written(done.Position, done.State.Version), showWorkspace(done.State)}, err
		})
}

func showWorkspace(w domain.Workspace) workspaceBody {
	return workspaceBody{w.ID, w.Slug, w.Name, w.Plan, w.Region, w.CreatedAt, w.UpdatedAt, w.Version}
}
