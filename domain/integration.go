package domain

import (
	"time"

	"github.com/google/uuid"
)

// MaxSecret is the longest access or refresh token of an integration, in bytes.
const MaxSecret = 8192

// Integration is an account that the workspace has with another service. The OAuth tokens are not in the state and not in the events. They
// are sealed in a table of their own.
type Integration struct {
	ID             uuid.UUID  `json:"id"`
	Provider       string     `json:"provider"`
	Name           string     `json:"name"`
	Scopes         []string   `json:"scopes"`     // the rights of the tokens, in the provider's words
	ExpiresAt      *time.Time `json:"expires_at"` // of the access token; nil when the provider named no end
	CreatedBy      uuid.UUID  `json:"created_by"`
	CreatedAt      time.Time  `json:"created_at"`
	UpdatedAt      time.Time  `json:"updated_at"`
	DisconnectedAt *time.Time `json:"disconnected_at"`
	Version        int        `json:"version"`
	Position       int64      `json:"position"`
}

// IntegrationStream names the stream of an integration.
func IntegrationStream(id uuid.UUID) string { return "integration-" + id.String() }

// The events of an integration.
type (
	IntegrationConnected struct {
		Provider  string     `json:"provider"`
		Name      string     `json:"name"`
		Scopes    []string   `json:"scopes,omitempty"`
		ExpiresAt *time.Time `json:"expires_at,omitempty"`
	}
	IntegrationDisconnected struct{}
)

func init() {
	register[IntegrationConnected]("integration.connected")
	register[IntegrationDisconnected]("integration.disconnected")
}

// Apply folds one event of the integration's stream into its state.
func (i *Integration) Apply(r Record) {
	switch e := r.Event.(type) {
	case IntegrationConnected:
		id, _ := StreamID("integration", r.Stream)
		*i = Integration{ID: id, Provider: e.Provider, Name: e.Name, Scopes: e.Scopes, ExpiresAt: e.ExpiresAt,
			CreatedBy: r.Actor, CreatedAt: r.At}
		if i.Scopes == nil {
			i.Scopes = []string{}
		}
	case IntegrationDisconnected:
		i.DisconnectedAt = &r.At
	}
	i.UpdatedAt, i.Version, i.Position = r.At, r.Version, r.Position
}

// NewIntegration connects an account.
func NewIntegration(e IntegrationConnected) ([]Event, error) {
	if err := firstError(
		checkText("/provider", e.Provider, 1, 100),
		checkText("/name", e.Name, 1, 200),
	); err != nil {
		return nil, err
	}
	if len(e.Scopes) > 100 {
		return nil, InvalidField("/scopes", "must be at most 100")
	}
	for _, scope := range e.Scopes {
		if err := checkText("/scopes", scope, 1, 300); err != nil {
			return nil, err
		}
	}
	var err error
	if e.ExpiresAt, err = checkInstant("/expires_at", e.ExpiresAt); err != nil {
		return nil, err
	}
	return []Event{e}, nil
}

// CheckSecret refuses a text that cannot be a token of an integration. The error shows no part of the text.
func CheckSecret(pointer, secret string) error {
	if secret == "" || len(secret) > MaxSecret {
		return InvalidField(pointer, "must have 1 to %d bytes", MaxSecret)
	}
	return checkText(pointer, secret, 1, MaxSecret)
}

// Disconnect ends the integration.
func (i Integration) Disconnect() ([]Event, error) {
	if i.DisconnectedAt != nil {
		return nil, Missing("integration")
	}
	return []Event{IntegrationDisconnected{}}, nil
}

// Parts gives the member's parts in the integration.
func (i Integration) Parts(member uuid.UUID) Parts {
	return creator(i.CreatedBy, member)
}
