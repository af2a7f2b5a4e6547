package jobs

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
)

// inviteMember mails the code to a member who was invited. A person who was erased meanwhile gets none, and
// neither does an address that no mail can be sent to: trying again would not help, and hold up the others.
func (j *Jobs) inviteMember(ctx context.Context, tx pgx.Tx, w pg.Workspace, event domain.MemberInvited) error {
	err := j.Commands.SendInvitation(ctx, tx, w, event)
	if errors.Is(err, vault.ErrErased) || errors.Is(err, mail.ErrRefused) {
		j.Log.WarnContext(ctx, "invitation not sent", "workspace", w.ID, "member", event.MemberID, "error", err.Error())
		return nil
	}
	return err
}
