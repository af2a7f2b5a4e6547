package http

import (
	"context"
	"net/http"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
)

func account(a *api) {
	command(a, operation{Method: "POST", Path: "/api/members/{id}/unlock", ID: "unlock-member", Tag: "member", Status: http.StatusOK,
		Summary: "End the lock of a member's account", Description: "Wrong passwords lock an account for a while. This forgets them.",
		Access: needs(domain.UpdateMember)},
		func(ctx context.Context, r commands.Request, in *memberCommand) (*memberWritten, error) {
			done, err := a.Commands.UnlockMember(ctx, r, in.ID)
			return a.memberAnswer(ctx, r, done, err)
		})
}
