package http

import (
	"context"
	"net/http"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

func account(a *api) {
	register(a, operation{Method: "POST", Path: "/api/members/{id}/unlock", ID: "unlock-member", Tag: "member", Status: http.StatusOK,
		Summary: "End the lock of a member's account", Description: "Wrong passwords lock an account for a while. This forgets them.",
		Access: needs(domain.UpdateMember)},
		func(ctx context.Context, by projections.Actor, in *memberCommand) (*memberWritten, error) {
			done, err := a.Commands.UnlockMember(ctx, request(ctx, by, in.Conditional), in.ID)
			return a.memberAnswer(ctx, by, done, err)
		})
}
