package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// PlaceMember makes a placeholder of a person without an account, who did things in the system that a history is imported from.
// InviteMember with its id gives the person an account, and what they did there is theirs.
func (c *Commands) PlaceMember(ctx context.Context, r Request, fullName string) (Result[domain.Member], error) {
	if err := domain.CheckName("/full_name", fullName); err != nil {
		return Result[domain.Member]{}, err
	}
	id, key, also, err := c.place(ctx, r.By.Workspace, nil)
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

// place gives the id and the key of a placeholder that is there, or new ones, with what stores the key.
func (c *Commands) place(ctx context.Context, w pg.Workspace, placeholder *uuid.UUID) (id uuid.UUID, key vault.Key, also []pg.Statement, err error) {
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
