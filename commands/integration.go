package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// Secrets are the OAuth tokens of an integration.
type Secrets struct {
	Access  string
	Refresh string // empty when there is none
}

// The fields under which these tokens are sealed, followed by the id of the integration.
const (
	accessField  = "integration.access_token/"
	refreshField = "integration.refresh_token/"
)

// ConnectIntegration gives the workspace an account with another service.
func (c *Commands) ConnectIntegration(ctx context.Context, r Request, wanted domain.IntegrationConnected, secrets Secrets) (Result[domain.Integration], error) {
	id := uuid.Must(uuid.NewV7())
	store, err := c.sealSecrets(ctx, r.By.Workspace, id, secrets)
	if err != nil {
		return Result[domain.Integration]{}, err
	}
	stored := false
	return create(ctx, c, r, projections.Integrations, domain.CreateIntegration, id, func(a *attempt) (decision, error) {
		events, err := domain.NewIntegration(wanted)
		if err == nil && !stored { // the tokens come first, because tokens without an integration are never used
			if err = c.DB.Do(ctx, a.by.Workspace, pg.Exec(dropOrphans), store); err != nil {
				err = fmt.Errorf("store the tokens of an integration: %w", err)
			}
			stored = err == nil
		}
		return decision{events: events}, err
	})
}

// dropOrphans deletes tokens whose integration was never stored, or is disconnected, because the program was killed in between. An integration that
// exists is in its read model, or in the log.
const dropOrphans = `delete from integration_secret s where created_at < now() - interval '1 day'
		and not exists (select from integration i where i.id = s.integration_id)
		and not exists (select from event e where e.stream = 'integration-' || s.integration_id::text)
		and not exists (select from baseline b where b.stream = 'integration-' || s.integration_id::text)
	or exists (select from integration i where i.id = s.integration_id and i.disconnected_at is not null)`

// sealSecrets seals the tokens of an integration, and gives the statement that stores them.
func (c *Commands) sealSecrets(ctx context.Context, w pg.Workspace, id uuid.UUID, s Secrets) (insert pg.Statement, err error) {
	if err := domain.CheckSecret("/access_token", s.Access); err != nil {
		return insert, err
	}
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return insert, err
	}
	access, err := own.Seal(accessField+id.String(), s.Access)
	if err != nil {
		return insert, err
	}
	var refresh *string
	if s.Refresh != "" {
		if err := domain.CheckSecret("/refresh_token", s.Refresh); err != nil {
			return insert, err
		}
		sealed, err := own.Seal(refreshField+id.String(), s.Refresh)
		if err != nil {
			return insert, err
		}
		refresh = &sealed
	}
	return pg.Exec(`insert into integration_secret (integration_id, access_token, refresh_token) values ($1, $2, $3)`, id, access, refresh), nil
}

// DisconnectIntegration ends an integration, and then destroys its tokens. After a crash in between, a second request destroys them.
func (c *Commands) DisconnectIntegration(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Integration], error) {
	gone := false
	done, err := changeGone(ctx, c, r, projections.Integrations, domain.DeleteIntegration, id, func(_ *attempt, i domain.Integration) (decision, error) {
		gone = i.DisconnectedAt != nil
		events, err := i.Disconnect()
		return decision{events: events}, err
	})
	if err == nil || gone {
		drop := c.DB.Do(context.WithoutCancel(ctx), r.By.Workspace, pg.Exec(`delete from integration_secret where integration_id = $1`, id))
		err = errors.Join(err, drop)
	}
	return done, err
}

// IntegrationSecrets opens the tokens of an integration, for a client of the other service. No caller of the API ever sees them.
func (c *Commands) IntegrationSecrets(ctx context.Context, w pg.Workspace, id uuid.UUID) (Secrets, error) {
	var rows []sealedSecrets
	if err := c.DB.Read(ctx, w, pg.Rows(&rows, `select access_token, refresh_token from integration_secret where integration_id = $1`, id)); err != nil {
		return Secrets{}, fmt.Errorf("read the tokens of integration %s: %w", id, err)
	}
	if len(rows) == 0 {
		return Secrets{}, domain.Missing("integration")
	}
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return Secrets{}, err
	}
	opened, err := rows[0].open(own, id)
	if err != nil {
		return Secrets{}, fmt.Errorf("open the tokens of integration %s: %w", id, err)
	}
	return opened, nil
}

type sealedSecrets struct {
	AccessToken  string
	RefreshToken *string
}

func (s sealedSecrets) open(key vault.Key, id uuid.UUID) (opened Secrets, err error) {
	if opened.Access, err = key.Open(accessField+id.String(), s.AccessToken); err != nil {
		return Secrets{}, err
	}
	if s.RefreshToken != nil {
		if opened.Refresh, err = key.Open(refreshField+id.String(), *s.RefreshToken); err != nil {
			return Secrets{}, err
		}
	}
	return opened, nil
}
