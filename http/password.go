package http

import (
	"context"
	"net/http"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/projections"
)

type (
	forgotInput struct {
		Body struct {
			Workspace string `json:"workspace" maxLength:"63" doc:"The slug."`
			Email     string `json:"email" maxLength:"254"`
			Device    string `json:"device,omitempty" maxLength:"100" doc:"What an earlier log-in of this member answered: with it, failures of others make no difference."`
		}
	}
	resetInput struct {
		Body struct {
			Workspace string `json:"workspace" maxLength:"63" doc:"The slug."`
			Email     string `json:"email" maxLength:"254"`
			Code      string `json:"code" pattern:"^[0-9]{6}$"`
			Password  string `json:"password" minLength:"8" maxLength:"1024"`
			Device    string `json:"device,omitempty" maxLength:"100" doc:"What an earlier log-in of this member answered: with it, failures of others make no difference."`
		}
	}
	changePasswordInput struct {
		Body struct {
			Current  string `json:"current" maxLength:"1024"`
			Password string `json:"password" minLength:"8" maxLength:"1024"`
		}
	}
)

func password(a *api) {
	registerPublic(a, operation{Method: "POST", Path: "/api/password/forgot", ID: "forget-password", Tag: "account", Status: http.StatusAccepted,
		Summary:     "Ask for a new password",
		Description: "A mail with a 6-digit code goes to the address if an active member has it, or one who is invited, at most 5 times an hour and 10 times a day. The answer does not tell.",
		Access:      public},
		func(ctx context.Context, in *forgotInput) (*struct{}, error) {
			a, err := a.ofSlug(ctx, in.Body.Workspace)
			if err != nil {
				return nil, err
			}
			return nil, a.Commands.ForgotPassword(ctx, commands.Forgotten{Workspace: in.Body.Workspace, Email: in.Body.Email, Device: in.Body.Device, From: originOf(ctx)})
		})
	registerPublic(a, operation{Method: "POST", Path: "/api/password/reset", ID: "reset-password", Tag: "account", Status: http.StatusNoContent,
		Summary: "Choose a new password, with the code from the mail",
		Description: "A code is good for 15 minutes, for 5 attempts, and once. All sessions and API tokens end, and the account is unlocked. " +
			"A wrong code counts as a failed log-in of the network that it comes from: 20 in 15 minutes.",
		Access: public},
		func(ctx context.Context, in *resetInput) (*struct{}, error) {
			b := in.Body
			a, err := a.ofSlug(ctx, b.Workspace)
			if err != nil {
				return nil, err
			}
			return nil, a.Commands.ResetPassword(ctx, commands.NewPassword{Workspace: b.Workspace, Email: b.Email, Code: b.Code, Password: b.Password, Device: b.Device, From: originOf(ctx)})
		})
	register(a, operation{Method: "POST", Path: "/api/password/change", ID: "change-password", Tag: "account", Status: http.StatusNoContent,
		Summary: "Choose a new password, with the one there is", Description: "All other sessions and all API tokens end.", Access: withSession},
		func(ctx context.Context, by projections.Actor, in *changePasswordInput) (*struct{}, error) {
			return nil, a.Commands.ChangePassword(ctx, by, originOf(ctx), in.Body.Current, in.Body.Password)
		})
}
