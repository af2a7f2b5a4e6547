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
	loginInput struct {
		Body struct {
			Workspace string `json:"workspace" maxLength:"63" doc:"The slug."`
			Email     string `json:"email" maxLength:"254"`
			Password  string `json:"password" maxLength:"1024"`
			Code      string `json:"code,omitempty" maxLength:"100" doc:"Where two factors are on: 6 digits from the device, or a recovery code. Spaces, hyphens and capitals do not count."`
			Device    string `json:"device,omitempty" maxLength:"100" doc:"What an earlier log-in of this member answered: with it, failures of others make no difference."`
		}
	}
	sessionBody struct {
		ID        uuid.UUID `json:"id"`
		Current   bool      `json:"current" doc:"The one that this request came with."`
		CreatedAt time.Time `json:"created_at"`
		UsedAt    time.Time `json:"used_at" doc:"Within a minute."`
		ExpiresAt time.Time `json:"expires_at"`
	}
	sessionList   struct{ Listing[uuid.UUID] }
	sessionsShown struct {
		Body page[sessionBody]
	}
)

func session(a *api) {
	registerPublic(a, operation{Method: "POST", Path: "/api/login", ID: "log-in", Tag: "account", Status: http.StatusOK,
		Summary: "Open a session",
		Description: "After 5 wrong passwords within 15 minutes the account is locked for 15 minutes, then for 30, then for 60 each time, and after 20 in a day for the rest of it. " +
			"A new password (`/api/password/forgot`) or an admin unlocks it. Failures count apart for a device that shows its `device`, for each network from which the member logged in within 30 days, " +
			"and for all others together: so nobody locks the member out. Whether there is such an account makes no difference to the answer. " +
			"Where two factors are on, a right password without a code is answered with 401 `code_required`, with a wrong or used one with 401 `bad_code`; " +
			"a wrong code counts like a wrong password.",
		Access: public},
		func(ctx context.Context, in *loginInput) (*admittedOutput, error) {
			b := in.Body
			a, err := a.ofSlug(ctx, b.Workspace)
			if err != nil {
				return nil, err
			}
			return a.admit(ctx)(a.Commands.Login(ctx, commands.Credentials{Workspace: b.Workspace, Email: b.Email, Password: b.Password, Code: b.Code, Device: b.Device, From: originOf(ctx)}))
		})
	register(a, operation{Method: "POST", Path: "/api/logout", ID: "log-out", Tag: "account", Status: http.StatusNoContent,
		Summary: "End this session", Access: withSession},
		func(ctx context.Context, by projections.Actor, _ *struct{}) (*struct{}, error) {
			return nil, a.Commands.Logout(ctx, by, originOf(ctx))
		})
	register(a, operation{Method: "GET", Path: "/api/sessions", ID: "list-sessions", Tag: "account", Status: http.StatusOK,
		Summary: "List my sessions, the newest first", Access: withSession}, a.listSessions)
	register(a, operation{Method: "DELETE", Path: "/api/sessions/{id}", ID: "end-session", Tag: "account", Status: http.StatusNoContent,
		Summary: "End one of my sessions", Access: withSession},
		func(ctx context.Context, by projections.Actor, in *ByID) (*struct{}, error) {
			return nil, a.Commands.EndSession(ctx, by, originOf(ctx), in.ID)
		})
}

func (a *api) listSessions(ctx context.Context, by projections.Actor, in *sessionList) (*sessionsShown, error) {
	sessions, err := a.Projections.ListSessions(ctx, by, pageAfterID(in.Listing))
	bodies := make([]sessionBody, len(sessions))
	for i, s := range sessions {
		bodies[i] = sessionBody{s.ID, s.ID == by.Session, s.CreatedAt, s.UsedAt, s.ExpiresAt}
	}
	return &sessionsShown{paged(bodies, in.Listing, func(s sessionBody) uuid.UUID { return s.ID })}, err
}
