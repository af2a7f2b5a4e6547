package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// PlaceMember makes a placeholder for a person without an account, who is named in a history that is imported. InviteMember with the id of the placeholder
// gives the person an account, and with it that history.
func (c *Commands) PlaceMember(ctx context.Context, r Request, fullName string) (Result[domain.Member], error) {
	if err := domain.CheckName("/full_name", fullName); err != nil {
		return Result[domain.Member]{}, err
	}
	id, key, also, err := c.placeholderKey(ctx, r.By.Workspace, nil)
	if err != nil {
		return Result[domain.Member]{}, err
	}
	name, err := key.Seal(nameField, fullName)
	if err != nil {
		return Result[domain.Member]{}, err
	}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		if err := a.read(ctx); err != nil {
			return plan{}, err
		}
		if err := allow(a.by, domain.CreateImport); err != nil {
			return plan{}, err
		}
		return plan{stream: domain.RosterStream, version: a.by.Roster, also: also,
			events: []domain.Event{domain.MemberPlaced{MemberID: id, FullName: domain.Personal(name)}}}, nil
	})
	return result(ctx, c, r, projections.Members.Model, domain.Member{}, done, err)
}

// placeholderKey gives the id and the data key of a placeholder, or a new id and a new key, with the statement that stores the key.
func (c *Commands) placeholderKey(ctx context.Context, w pg.Workspace, placeholder *uuid.UUID) (id uuid.UUID, key vault.Key, also []pg.Statement, err error) {
	if placeholder != nil {
		key, err = c.Vault.Key(ctx, w, *placeholder)
		if err != nil {
			err = domain.InvalidField("/placeholder_id", "there is no such placeholder")
		}
		return *placeholder, key, nil, err
	}
	id = uuid.Must(uuid.NewV7())
	key, insert, err := c.Vault.NewKey(w, id)
	return id, key, []pg.Statement{insert}, err
}
