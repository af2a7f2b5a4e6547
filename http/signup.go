package http

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/projections"
)

type (
	signupInput struct {
		Body struct {
			Workspace struct {
				Slug string `json:"slug" minLength:"3" maxLength:"63" pattern:"^[a-z0-9]([a-z0-9-]*)[a-z0-9]$" doc:"Lower-case letters, digits and inner hyphens. Members log in to it."`
				Name string `json:"name" minLength:"1" maxLength:"200"`
			} `json:"workspace"`
			Email    string `json:"email" format:"email" maxLength:"254"`
			FullName string `json:"full_name" minLength:"1" maxLength:"200"`
			Password string `json:"password" minLength:"8" maxLength:"1024"`
			Plan     string `json:"plan,omitempty" enum:"free,pro,business,enterprise"`
			Region   string `json:"region,omitempty" doc:"Where the workspace is kept, all of it: one of those that whoever runs this server offers. Left out: the home region."`
			Language string `json:"language,omitempty" enum:"en,fr,nl" doc:"Of the mails to you. Left out: English."`
		}
	}
	signupOutput struct {
		Body struct {
			SignupID uuid.UUID `json:"signup_id"`
		}
	}
	verifyInput struct {
		Body struct {
			SignupID uuid.UUID `json:"signup_id"`
			Code     string    `json:"code" pattern:"^[0-9]{6}$"`
		}
	}
	acceptInput struct {
		Body struct {
			Workspace string `json:"workspace" maxLength:"63" doc:"The slug."`
			Email     string `json:"email" maxLength:"254"`
			Code      string `json:"code" pattern:"^[0-9]{6}$"`
			Password  string `json:"password" minLength:"8" maxLength:"1024"`
		}
	}
	admittedOutput struct {
		Body admittedBody
	}
	admittedBody struct {
		Workspace workspaceBody `json:"workspace"`
		Member    memberBody    `json:"member"`
		Token     string        `json:"token" doc:"Shown this once. Send it as Authorization: Bearer <token>."`
		ExpiresAt time.Time     `json:"expires_at"`
		Device    string        `json:"device" doc:"Keep it, and show it at the next log-in from this device: it opens nothing, and is good for 30 days."`
	}
)

func signup(a *api) {
	registerPublic(a, operation{Method: "POST", Path: "/api/signup", ID: "sign-up", Tag: "account", Status: http.StatusAccepted,
		Summary: "Ask for a workspace", Description: "A mail with a 6-digit code, good for 15 minutes, goes to the address.", Access: public},
		func(ctx context.Context, in *signupInput) (*signupOutput, error) {
			b, out := in.Body, &signupOutput{}
			a, err := a.inRegion(b.Region)
			if err != nil {
				return nil, err
			}
			id, err := a.Commands.SignUp(ctx, commands.Signup{Slug: b.Workspace.Slug, Name: b.Workspace.Name,
				Email: b.Email, FullName: b.FullName, Password: b.Password, Plan: b.Plan, Region: b.Region, Language: b.Language, From: originOf(ctx)})
			out.Body.SignupID = id
			return out, err
		})
	registerPublic(a, operation{Method: "POST", Path: "/api/signup/verify", ID: "verify-signup", Tag: "account", Status: http.StatusCreated, Made: "/api/me",
		Summary: "Make the workspace, with the code from the mail", Description: "The caller becomes its first admin.", Access: public},
		func(ctx context.Context, in *verifyInput) (*admittedOutput, error) {
			a, err := a.ofSignup(ctx, in.Body.SignupID)
			if err != nil {
				return nil, err
			}
			return a.admit(ctx)(a.Commands.VerifySignup(ctx, originOf(ctx), in.Body.SignupID, in.Body.Code))
		})
	registerPublic(a, operation{Method: "POST", Path: "/api/invitations/accept", ID: "accept-invitation", Tag: "account", Status: http.StatusCreated, Made: "/api/me",
		Summary:     "Join a workspace, with the code from the mail",
		Description: "A code is good for 7 days, for 5 attempts, and once; `/api/password/forgot` mails another. A wrong one counts as a failed log-in of the network that it comes from: 20 in 15 minutes.",
		Access:      public},
		func(ctx context.Context, in *acceptInput) (*admittedOutput, error) {
			b := in.Body
			a, err := a.ofSlug(ctx, b.Workspace)
			if err != nil {
				return nil, err
			}
			return a.admit(ctx)(a.Commands.AcceptInvitation(ctx, originOf(ctx), b.Workspace, b.Email, b.Code, b.Password))
		})
}

// admit answers with a new session.
func (a *api) admit(ctx context.Context) func(commands.Admitted, error) (*admittedOutput, error) {
	return func(in commands.Admitted, err error) (*admittedOutput, error) {
		if err != nil {
			return nil, err
		}
		m, err := a.showMember(ctx, projections.Actor{Workspace: in.In, Member: in.Member.ID}, in.Member)
		if err != nil {
			return nil, err
		}
		w, err := a.showWorkspace(ctx, in.Workspace)
		return &admittedOutput{admittedBody{w, m, in.Token, in.ExpiresAt, in.Device}}, err
	}
}
