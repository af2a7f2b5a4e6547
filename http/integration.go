package http

import (
	"context"
	"net/http"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	integrationFields struct {
		Provider     string     `json:"provider" minLength:"1" maxLength:"100" example:"github"`
		Name         string     `json:"name" minLength:"1" maxLength:"200"`
		AccessToken  string     `json:"access_token" minLength:"1" maxLength:"8192" doc:"Stored sealed; no answer ever shows it."`
		RefreshToken string     `json:"refresh_token,omitempty" minLength:"1" maxLength:"8192" doc:"Likewise."`
		ExpiresAt    *time.Time `json:"expires_at,omitempty" doc:"When the access token expires."`
		Scopes       []string   `json:"scopes,omitempty" maxItems:"100"`
	}
)

func integration(a *api) {
	lists(a, operation{Method: "GET", Path: "/api/integrations", ID: "list-integrations", Tag: "integration", Status: http.StatusOK,
		Summary: "List the integrations", Access: needs(domain.ReadIntegration)}, projections.Integrations,
		func(ctx context.Context, by projections.Actor, _ *listing, page projections.Page) ([]projections.Shown, projections.Mark, error) {
			return projections.Integrations.ListShown(ctx, a.Projections, by, page, nil)
		})
	register(a, operation{Method: "GET", Path: "/api/integrations/{id}", ID: "get-integration", Tag: "integration", Status: http.StatusOK,
		Summary: "Get an integration, as it is or as it was", Access: needs(domain.ReadIntegration)}, getting(a, projections.Integrations))
	register(a, operation{Method: "GET", Path: "/api/integrations/{id}/history", ID: "get-integration-history", Tag: "integration", Status: http.StatusOK,
		Summary: "Who connected an integration, and who disconnected it, when", Access: needs(domain.ReadIntegration)}, history(a, projections.Integrations))
	command(a, operation{Method: "POST", Path: "/api/integrations", ID: "connect-integration", Tag: "integration", Status: http.StatusCreated,
		Summary: "Connect the workspace to another service", Access: needs(domain.CreateIntegration)},
		func(ctx context.Context, r commands.Request, in *creating[integrationFields]) (*wrote[domain.Integration], error) {
			b := in.Body
			return answered(a.Commands.ConnectIntegration(ctx, r,
				domain.IntegrationConnected{Provider: b.Provider, Name: b.Name, Scopes: b.Scopes, ExpiresAt: b.ExpiresAt},
				commands.Secrets{Access: b.AccessToken, Refresh: b.RefreshToken}))
		})
	command(a, operation{Method: "DELETE", Path: "/api/integrations/{id}", ID: "disconnect-integration", Tag: "integration", Status: http.StatusNoContent,
		Summary: "Disconnect from another service", Description: "The tokens are destroyed.", Access: needs(domain.DeleteIntegration)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DisconnectIntegration(ctx, r, in.ID))
		})
}
