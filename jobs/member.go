package jobs

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
)

// inviteMember mails the code to a member who was invited.
func (j *Jobs) inviteMember(ctx context.Context, tx pgx.Tx, w pg.Workspace, event domain.MemberInvited) error {
	return j.invitation(ctx, w, event.MemberID, j.Commands.SendInvitation(ctx, tx, w, event))
}

func (j *Jobs) inviteMemberAgain(ctx context.Context, tx pgx.Tx, w pg.Workspace, event domain.MemberInvitedAgain) error {
	return j.invitation(ctx, w, event.MemberID, j.Commands.SendInvitationAgain(ctx, tx, w, event.MemberID))
}

// eraseMember finishes an erasure, when the command has not.
func (j *Jobs) eraseMember(ctx context.Context, _ pgx.Tx, w pg.Workspace, event domain.MemberErased) error {
	return j.Commands.FinishErasure(ctx, w, event.MemberID)
}

// invitation logs, and passes over, a mail that another try would not help: the person was erased meanwhile, or no mail can be sent to
// the address. An error would hold up the reactions behind it.
func (j *Jobs) invitation(ctx context.Context, w pg.Workspace, member uuid.UUID, err error) error {
	if errors.Is(err, vault.ErrErased) || errors.Is(err, mail.ErrRefused) {
		j.Log.WarnContext(ctx, "invitation not sent", "workspace", w.ID, "member", member, "error", err.Error())
		return nil
	}
	return err
}
