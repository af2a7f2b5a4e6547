package projections

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Integrations is the read model of the integrations.
var Integrations = newModel("integration", domain.IntegrationStream,
	ofKind("integration"),
	(*domain.Integration).Apply,
	func(i domain.Integration) uuid.UUID { return i.ID })

// ownIntegration is which integrations scope own reaches: those that one connected.
const (
	ownIntegration     = `integration.created_by = $2`
	integrationVisible = `($1 = 'all' or $1 = 'own' and (` + ownIntegration + `))`
	integrationColumns = `id, provider, name, scopes, expires_at, created_by, created_at, updated_at, disconnected_at, version, position`
	listIntegrations   = `select ` + integrationColumns + ` from integration
		where disconnected_at is null and ` + integrationVisible + ` and ($3::uuid is null or id < $3) order by id desc limit $4`
	loadIntegration = `select ` + integrationColumns + `, ` + integrationVisible + ` as visible, (` + ownIntegration + `) as own
		from integration where id = $3`
)

// ListIntegrations answers with the integrations that the actor may see, the newest first.
func (p *Projections) ListIntegrations(ctx context.Context, by Actor, page Page) ([]domain.Integration, Mark, error) {
	return list[domain.Integration](ctx, p, by.Workspace, page, listIntegrations, by.Scope(domain.ReadIntegration), by.Member, page.After)
}

// IntegrationRow is an integration with what the actor's scopes say of it.
type IntegrationRow struct {
	domain.Integration
	Visible bool
	Own     bool
}

// LoadIntegration is the query for a decision on an integration.
func LoadIntegration(into *[]IntegrationRow, by Actor, id uuid.UUID) pg.Statement {
	return pg.Rows(into, loadIntegration, by.Scope(domain.ReadIntegration), by.Member, id)
}
