package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// Integrations is the read model of the integrations. Scope own reaches the integrations that the member connected.
var Integrations = newNoun(
	newModel("integration", domain.IntegrationStream, ofKind("integration"), (*domain.Integration).Apply, func(i domain.Integration) uuid.UUID { return i.ID }),
	Sight{Read: domain.ReadIntegration, Own: `integration.created_by = $2`, Gone: `integration.disconnected_at`},
	Lists{Sorts: []Sorting{{Field: "created_at"}, {Field: "name", By: byName}}})
