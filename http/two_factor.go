package http

import (
	"context"
	"net/http"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	twoFactorBegin struct {
		Body struct {
			Password string `json:"password" maxLength:"1024"`
		}
	}
	twoFactorCode struct {
		Body struct {
			Code string `json:"code" maxLength:"100" doc:"6 digits from the device. Spaces and hyphens do not count."`
		}
	}
	recoveryRenew struct {
		Body struct {
			Code string `json:"code" maxLength:"100" doc:"6 digits from the device, or a recovery code. Spaces, hyphens and capitals do not count."`
		}
	}
	twoFactorDisable struct {
		Body struct {
			Password string `json:"password" maxLength:"1024"`
			Code     string `json:"code" maxLength:"100" doc:"6 digits from the device, or a recovery code. Spaces, hyphens and capitals do not count."`
		}
	}
	twoFactorProposed struct {
		Body struct {
			Secret string `json:"secret" doc:"Base32. Shown this once."`
			URL    string `json:"otpauth_url" doc:"The same, for an authenticator app: show it as a QR code."`
		}
	}
	recoveryShown struct {
		Body struct {
			Codes []string `json:"recovery_codes" doc:"Each lets you in once without the device. Shown this once."`
		}
	}
	twoFactorBody struct {
		Enabled  bool `json:"enabled" doc:"Logging in takes a code."`
		Required bool `json:"required" doc:"The workspace asks two factors of your role. Until they are on, what needs a permission answers 403 two_factor_required."`
	}
)

func twoFactor(a *api) {
	register(a, operation{Method: "POST", Path: "/api/me/two-factor", ID: "begin-two-factor", Tag: "account", Status: http.StatusCreated, Made: "/api/me",
		Summary:     "Ask for a secret, to turn on two factors",
		Description: "It takes the place of an earlier one, and counts once a code has confirmed it. The codes are those of RFC 6238: SHA-1, 6 digits, 30 seconds.",
		Access:      withSession},
		func(ctx context.Context, by projections.Actor, in *twoFactorBegin) (*twoFactorProposed, error) {
			proposal, err := a.Commands.BeginTwoFactor(ctx, by, originOf(ctx), in.Body.Password)
			out := &twoFactorProposed{}
			out.Body.Secret, out.Body.URL = proposal.Secret, proposal.URL
			return out, err
		})
	register(a, operation{Method: "POST", Path: "/api/me/two-factor/confirm", ID: "confirm-two-factor", Tag: "account", Status: http.StatusOK,
		Summary: "Turn on two factors, with a first code",
		Description: "From then on logging in takes a code, each of them once. Your other sessions end: they were opened without one. " +
			"Your API tokens stay as they are: they are for programs, which have no device. You get a mail about it.",
		Access: withSession},
		func(ctx context.Context, by projections.Actor, in *twoFactorCode) (*recoveryShown, error) {
			return recoveryAnswer(a.Commands.ConfirmTwoFactor(ctx, by, originOf(ctx), in.Body.Code))
		})
	register(a, operation{Method: "POST", Path: "/api/me/two-factor/recovery-codes", ID: "renew-recovery-codes", Tag: "account", Status: http.StatusOK,
		Summary: "Get new recovery codes", Description: "Those you had are dead from then on. A wrong code counts as a failed login.", Access: withSession},
		func(ctx context.Context, by projections.Actor, in *recoveryRenew) (*recoveryShown, error) {
			return recoveryAnswer(a.Commands.RenewRecoveryCodes(ctx, by, originOf(ctx), in.Body.Code))
		})
	register(a, operation{Method: "POST", Path: "/api/me/two-factor/disable", ID: "disable-two-factor", Tag: "account", Status: http.StatusNoContent,
		Summary:     "Turn off two factors",
		Description: "Refused with 409 `two_factor_required` while the workspace asks them of your role. A wrong password or code counts as a failed login. You get a mail about it.",
		Access:      withSession},
		func(ctx context.Context, by projections.Actor, in *twoFactorDisable) (*struct{}, error) {
			return nil, a.Commands.DisableTwoFactor(ctx, by, originOf(ctx), in.Body.Password, in.Body.Code)
		})
	a.resetTwoFactor()
}

func (a *api) resetTwoFactor() {
	command(a, operation{Method: "DELETE", Path: "/api/members/{id}/two-factor", ID: "reset-two-factor", Tag: "member", Status: http.StatusNoContent,
		Summary: "Turn off the two factors of a member who has lost the device",
		Description: "That member's sessions and API tokens end, and a mail tells them. Nothing happens to a member who has not turned them on. " +
			"Your own are turned off with `POST /api/me/two-factor/disable`.",
		Access: needs(domain.UpdateMember).inSession()},
		func(ctx context.Context, r commands.Request, in *memberCommand) (*written204, error) {
			return noContent(a.Commands.ResetTwoFactor(ctx, r, in.ID))
		})
}

func recoveryAnswer(codes []string, err error) (*recoveryShown, error) {
	out := &recoveryShown{}
	out.Body.Codes = codes
	return out, err
}
