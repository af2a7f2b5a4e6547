package http

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	receiverFields struct {
		Kind        string   `json:"kind" enum:"webhook,siem_https,siem_syslog,nats"`
		Name        string   `json:"name" minLength:"1" maxLength:"200"`
		URL         string   `json:"url" minLength:"1" maxLength:"2000" example:"https://receiver.example/kluis" doc:"https://, or tls://host:port of a receiver of the kind siem_syslog or nats. It holds no secret: the log shows it."`
		Types       []string `json:"types,omitempty" maxItems:"100" example:"[\"task.*\"]" doc:"Only events of these types; task.* is every type of the noun, those of later versions too. Left out: all."`
		Subject     string   `json:"subject,omitempty" maxLength:"200" example:"kluis.events" doc:"Of NATS: events are published to the subject and their type, such as kluis.events.task.completed. A stream that takes it must be there."`
		Opened      bool     `json:"opened,omitempty" doc:"Names, e-mail and network addresses are sent opened, as an admin reads them. Left out they are sent as they are stored, sealed, and each line is the one that checkpoints prove."`
		CA          string   `json:"ca,omitempty" maxLength:"16384" doc:"Certificates in PEM of the authorities that the receiver's is from, instead of those that the server trusts."`
		Credentials string   `json:"credentials,omitempty" maxLength:"8192" example:"Splunk 11111111-2222-3333-4444-555555555555" doc:"What Kluis shows to the receiver: of siem_https the value of the header Authorization; of nats a token, user:password, or a credentials file. Stored sealed; no answer ever shows it."`
		From        int64    `json:"from,omitempty" minimum:"0" doc:"The first position that is sent. Left out: what comes from now on."`
	}
	receiverPatch struct {
		Name        optional[string]   `json:"name,omitzero" minLength:"1" maxLength:"200"`
		URL         optional[string]   `json:"url,omitzero" minLength:"1" maxLength:"2000" doc:"Where events go from now on. Another host needs the credentials once more, if there are any."`
		Types       optional[[]string] `json:"types,omitzero" maxItems:"100"`
		Subject     optional[string]   `json:"subject,omitzero" maxLength:"200"`
		Opened      optional[bool]     `json:"opened,omitzero"`
		CA          optional[string]   `json:"ca,omitzero" maxLength:"16384"`
		Credentials optional[string]   `json:"credentials,omitzero" minLength:"1" maxLength:"8192" doc:"They take the place of those before."`
	}
	receiverMade struct {
		domain.Receiver
		Secret string `json:"secret,omitempty" example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=" doc:"Of a webhook: what its requests are signed with. It is shown this once."`
	}
	receiverBody struct {
		domain.Receiver
		Delivery *receiverDelivery `json:"delivery,omitempty" doc:"How far delivery is; left out in the past."`
	}
	receiverDelivery struct {
		Position     int64      `json:"position" doc:"Up to here everything was delivered, or not wanted."`
		Lag          int64      `json:"lag" example:"0" doc:"How many positions the log is further."`
		LagSeconds   float64    `json:"lag_seconds" example:"0" doc:"How old the first event is that was not delivered yet; 0 when there is none."`
		Delivered    int64      `json:"delivered" example:"12842" doc:"How many events were taken."`
		DeliveredAt  *time.Time `json:"delivered_at" doc:"When the last event was taken; null before the first."`
		Failures     int        `json:"failures" example:"0" doc:"How many attempts failed since the last one that did not."`
		FailingSince *time.Time `json:"failing_since" doc:"Since when attempts fail; null when the last one did not. After 75 hours the receiver is stopped."`
		Error        string     `json:"error" example:"it answered 503" doc:"Why the last attempt that failed did; empty when none ever did."`
		FailedAt     *time.Time `json:"failed_at" doc:"When that was."`
		AgainAt      *time.Time `json:"again_at" doc:"When it is tried again; null when nothing failed."`
		Skipped      int64      `json:"skipped" example:"0" doc:"How many positions had left the log, as its retention says, before they could be delivered."`
		RestoredAt   *time.Time `json:"restored_at" doc:"When delivery went on at the end of the log, since the log had been restored from a backup: what lies before may not be what the receiver has. null when that never was."`
	}
	receiverTested struct {
		Delivered bool   `json:"delivered" example:"true" doc:"Whether the receiver took the message."`
		Error     string `json:"error" example:"" doc:"Why it did not; empty when it did."`
		Took      int64  `json:"took_ms" example:"38" doc:"How long it took, in milliseconds."`
	}
	receiverRotation struct {
		Overlap *int `json:"overlap_hours,omitempty" minimum:"0" maximum:"168" example:"24" doc:"For how long the secret before signs as well, in hours; left out: 24. 0 for one that leaked."`
	}
	receiverReplay struct {
		From int64 `json:"from" minimum:"1" doc:"The position from which on events are sent once more."`
	}
)

// How many tests run at once, of one member and of all: each may take as long as the receiver likes, up to 15 s.
const (
	maxTests    = 10
	maxAllTests = 30
)

var receiverRow = rowOf(func(r receiverBody) domain.Receiver { return r.Receiver }, func(r domain.Receiver) receiverBody { return receiverBody{Receiver: r} })

func receiver(a *api) {
	listsMade(a, operation{Method: "GET", Path: "/api/receivers", ID: "list-receivers", Tag: "receiver", Status: http.StatusOK,
		Summary: "List the receivers, and how far delivery to each is", Access: needs(domain.ReadReceiver)}, projections.Receivers, receiverRow,
		func(ctx context.Context, by projections.Actor, _ *listing, page projections.Page) ([]receiverBody, projections.Mark, error) {
			receivers, mark, err := projections.Receivers.List(ctx, a.Projections, by, page, nil)
			if err != nil {
				return nil, mark, err
			}
			bodies, err := a.showReceivers(ctx, by, receivers...)
			return bodies, mark, err
		})
	command(a, operation{Method: "POST", Path: "/api/receivers", ID: "create-receiver", Tag: "receiver", Status: http.StatusCreated,
		Summary: "Have events go to a system outside", Access: needs(domain.CreateReceiver),
		Description: "Events go out as they are committed: in their order, each at least once, under an id that stays the same. A webhook gets one event a request, signed as " +
			"[Standard Webhooks](https://www.standardwebhooks.com/) says. Also needs `audit:read`; with `opened`, `member:read` over all members."},
		func(ctx context.Context, r commands.Request, in *creating[receiverFields]) (*wrote[receiverMade], error) {
			b := in.Body
			done, err := a.Commands.CreateReceiver(ctx, r, domain.ReceiverCreated{Kind: b.Kind, Name: b.Name, URL: b.URL, Types: b.Types, Subject: b.Subject,
				Opened: b.Opened, CA: b.CA, From: b.From}, b.Credentials)
			return a.madeReceiver(ctx, r, done, err)
		})
	register(a, operation{Method: "GET", Path: "/api/receivers/{id}", ID: "get-receiver", Tag: "receiver", Status: http.StatusOK,
		Summary: "Get a receiver, and how far delivery to it is; or as it was", Access: needs(domain.ReadReceiver)},
		gettingRow(a, projections.Receivers, receiverRow, func(ctx context.Context, by projections.Actor, id uuid.UUID) (receiverBody, projections.Mark, error) {
			r, mark, err := projections.Receivers.Get(ctx, a.Projections, by, id)
			if err != nil {
				return receiverBody{}, mark, err
			}
			bodies, err := a.showReceivers(ctx, by, r)
			return bodies[0], mark, err
		}))
	command(a, operation{Method: "PATCH", Path: "/api/receivers/{id}", ID: "update-receiver", Tag: "receiver", Status: http.StatusOK,
		Summary: "Change settings of a receiver", Access: needs(domain.UpdateReceiver),
		Description: "What waits after failures is tried at once. Also needs `audit:read`; with `opened`, `member:read` over all members."},
		func(ctx context.Context, r commands.Request, in *changing[receiverPatch]) (*wrote[domain.Receiver], error) {
			b, credentials := in.Body, ""
			if b.Credentials.Value != nil {
				credentials = *b.Credentials.Value
			}
			return answered(a.Commands.UpdateReceiver(ctx, r, in.ID, domain.ReceiverChange{Name: b.Name.Value, URL: b.URL.Value, Types: b.Types.Value,
				Subject: b.Subject.Value, Opened: b.Opened.Value, CA: b.CA.Value}, credentials))
		})
	command(a, operation{Method: "DELETE", Path: "/api/receivers/{id}", ID: "delete-receiver", Tag: "receiver", Status: http.StatusNoContent,
		Summary: "Delete a receiver", Description: "Its credentials are destroyed.", Access: needs(domain.DeleteReceiver)},
		func(ctx context.Context, r commands.Request, in *doing) (*written204, error) {
			return noContent(a.Commands.DeleteReceiver(ctx, r, in.ID))
		})
	register(a, operation{Method: "GET", Path: "/api/receivers/{id}/history", ID: "get-receiver-history", Tag: "receiver", Status: http.StatusOK,
		Summary: "Who changed what in a receiver, when", Access: needs(domain.ReadReceiver)}, history(a, projections.Receivers))
	receiverActions(a)
}

func receiverActions(a *api) {
	for _, c := range []struct {
		action, summary, description string
		do                           func(*commands.Commands, context.Context, commands.Request, uuid.UUID) (commands.Result[domain.Receiver], error)
	}{
		{"pause", "Stop delivery to a receiver", "Nothing is lost meanwhile, as long as the log keeps it.", (*commands.Commands).PauseReceiver},
		{"resume", "Go on with delivery to a receiver where it stopped", "", (*commands.Commands).ResumeReceiver},
	} {
		command(a, operation{Method: "POST", Path: "/api/receivers/{id}/" + c.action, ID: c.action + "-receiver", Tag: "receiver", Status: http.StatusOK,
			Summary: c.summary, Description: c.description, Access: needs(domain.UpdateReceiver)},
			func(ctx context.Context, r commands.Request, in *doing) (*wrote[domain.Receiver], error) {
				return answered(c.do(a.Commands, ctx, r, in.ID))
			})
	}
	command(a, operation{Method: "POST", Path: "/api/receivers/{id}/replay", ID: "replay-to-receiver", Tag: "receiver", Status: http.StatusOK,
		Summary: "Send events to a receiver once more, from a position on", Access: needs(domain.UpdateReceiver),
		Description: "They have the ids that they had. A position behind the last event that failed passes that one over."},
		func(ctx context.Context, r commands.Request, in *changing[receiverReplay]) (*wrote[domain.Receiver], error) {
			return answered(a.Commands.ReplayReceiver(ctx, r, in.ID, in.Body.From))
		})
	command(a, operation{Method: "POST", Path: "/api/receivers/{id}/rotate-secret", ID: "rotate-receiver-secret", Tag: "receiver", Status: http.StatusOK,
		Summary: "Give a webhook another secret", Access: needs(domain.UpdateReceiver),
		Description: "For the overlap each request has two signatures, by the new secret and by the one before."},
		func(ctx context.Context, r commands.Request, in *changing[receiverRotation]) (*wrote[receiverMade], error) {
			overlap := 24
			if in.Body.Overlap != nil {
				overlap = *in.Body.Overlap
			}
			done, err := a.Commands.RotateReceiverSecret(ctx, r, in.ID, time.Duration(overlap)*time.Hour)
			return a.madeReceiver(ctx, r, done, err)
		})
	// No command: it changes nothing, and whoever asks again wants another message.
	register(a, operation{Method: "POST", Path: "/api/receivers/{id}/test", ID: "test-receiver", Tag: "receiver", Status: http.StatusOK,
		Summary: "Send a message to a receiver, and tell what came of it", Access: needs(domain.UpdateReceiver),
		Description: "The message is no event of the log: its type is receiver.test. When it is taken, what waits after failures is tried at once."},
		func(ctx context.Context, by projections.Actor, in *ByID) (*shows[receiverTested], error) {
			if err := a.tests.acquire(ctx, by.Member); err != nil {
				return nil, err
			}
			tried, err := a.Commands.TestReceiver(ctx, by, in.ID)
			return &shows[receiverTested]{Body: receiverTested{tried.Delivered, tried.Error, tried.Took.Milliseconds()}}, err
		})
}

// madeReceiver is a command's answer with the secret of a webhook that it made.
func (a *api) madeReceiver(ctx context.Context, r commands.Request, done commands.Result[domain.Receiver], err error) (*wrote[receiverMade], error) {
	made := receiverMade{Receiver: done.State}
	if err == nil && made.Kind == domain.Webhook {
		made.Secret, err = a.Commands.ReceiverSecret(ctx, r.By.Workspace, done.State)
	}
	return &wrote[receiverMade]{commandHeaders(done.Position, done.State.Version), made}, err
}

func (a *api) showReceivers(ctx context.Context, by projections.Actor, receivers ...domain.Receiver) ([]receiverBody, error) {
	ids, bodies := make([]uuid.UUID, len(receivers)), make([]receiverBody, len(receivers))
	for i, r := range receivers {
		ids[i] = r.ID
	}
	deliveries, err := a.Projections.Deliveries(ctx, by.Workspace, ids)
	for i, r := range receivers {
		d := deliveries[r.ID]
		bodies[i] = receiverBody{r, &receiverDelivery{Position: d.Position, Lag: d.Head - d.Position, LagSeconds: max(d.LagSeconds, 0), Delivered: d.Delivered,
			DeliveredAt: d.DeliveredAt, Failures: d.Failures, FailingSince: d.FailingSince, Error: d.Error, FailedAt: d.FailedAt, AgainAt: d.AgainAt,
			Skipped: d.Skipped, RestoredAt: d.RestoredAt}}
	}
	return bodies, err
}
