package commands

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/delivery"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// CreateReceiver makes Kluis deliver events of the workspace to another system. Kluis sends the credentials along; empty for none.
func (c *Commands) CreateReceiver(ctx context.Context, r Request, wanted domain.ReceiverCreated, credentials string) (Result[domain.Receiver], error) {
	id := uuid.Must(uuid.NewV7())
	wanted.Credentials = credentials != ""
	store, err := c.sealCredentials(ctx, r.By.Workspace, id, credentials)
	if err != nil {
		return Result[domain.Receiver]{}, err
	}
	others := 0
	return create(ctx, c, r, projections.Receivers, domain.CreateReceiver, id, func(a *attempt) (decision, error) {
		if err := mayReceive(a.by, wanted.Opened); err != nil {
			return decision{}, err
		}
		events, err := domain.NewReceiver(wanted, others)
		if err == nil {
			err = c.reachable(domain.Receiver{Kind: wanted.Kind, URL: wanted.URL, CA: wanted.CA})
		}
		return decision{events: events, also: store}, err
	}, projections.CountReceivers(&others))
}

// UpdateReceiver changes settings of a receiver, and its credentials unless the given ones are empty. Credentials are stored together with an event of the
// receiver, so the version of its stream guards them as well.
func (c *Commands) UpdateReceiver(ctx context.Context, r Request, id uuid.UUID, wanted domain.ReceiverChange, credentials string) (Result[domain.Receiver], error) {
	wanted.Credentials = credentials != ""
	store, err := c.sealCredentials(ctx, r.By.Workspace, id, credentials)
	if err != nil {
		return Result[domain.Receiver]{}, err
	}
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, func(a *attempt, receiver domain.Receiver) (decision, error) {
		events, err := receiver.Change(wanted)
		if err != nil || events == nil {
			return decision{}, err
		}
		after := receiver
		for _, e := range events {
			after.Apply(domain.Record{Event: e})
		}
		if err = mayReceive(a.by, after.Opened); err == nil {
			err = c.reachable(after)
		}
		return decision{events: events, also: store}, err
	}, pg.Exec(`select exists (select from receiver_credentials where receiver_id = $1)`, id).Scan(&wanted.Shown))
}

// mayReceive refuses a caller who may not read what the receiver would get.
func mayReceive(by projections.Actor, opened bool) error {
	if err := allow(by, domain.ReadAudit); err != nil {
		return err
	}
	if opened && by.Scope(domain.ReadMember) != domain.All {
		return domain.Refuse(domain.Forbidden, "forbidden", "your role %q does not grant %s over all members, whose names would be sent", by.Role.Name, domain.ReadMember)
	}
	return nil
}

// reachable refuses a URL to which nothing could ever be delivered. The address of a host name is looked up and checked at each delivery.
func (c *Commands) reachable(r domain.Receiver) error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return domain.InvalidField("/url", "must be a URL")
	}
	if !r.Encrypted() && !c.Outside.Plain() {
		return domain.InvalidField("/url", "must have an encrypted scheme: the operator of Kluis allows no other (KLUIS_RECEIVER_NETWORKS)")
	}
	if err := c.Outside.Literal(u.Hostname(), r.Encrypted()); err != nil {
		return domain.InvalidField("/url", "must not lead there: %v (KLUIS_RECEIVER_NETWORKS)", err)
	}
	if r.CA == "" {
		return nil
	}
	if _, err := delivery.Authorities(r.CA); err != nil {
		return domain.InvalidField("/ca", "must be certificates in PEM")
	}
	return nil
}

// PauseReceiver stops delivery.
func (c *Commands) PauseReceiver(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, stateOnly(domain.Receiver.Pause))
}

// ResumeReceiver goes on where delivery stopped.
func (c *Commands) ResumeReceiver(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, func(a *attempt, receiver domain.Receiver) (decision, error) {
		if err := mayReceive(a.by, receiver.Opened); err != nil {
			return decision{}, err
		}
		events, err := receiver.Resume()
		return decision{events: events}, err
	})
}

// ReplayReceiver delivers again, from a position on.
func (c *Commands) ReplayReceiver(ctx context.Context, r Request, id uuid.UUID, from int64) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, func(a *attempt, receiver domain.Receiver) (decision, error) {
		if err := mayReceive(a.by, receiver.Opened); err != nil {
			return decision{}, err
		}
		events, err := receiver.Replay(from, a.mark.Head)
		return decision{events: events}, err
	})
}

// RotateReceiverSecret gives a webhook another secret. For the overlap, the former secret signs as well.
func (c *Commands) RotateReceiverSecret(ctx context.Context, r Request, id uuid.UUID, overlap time.Duration) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, func(_ *attempt, receiver domain.Receiver) (decision, error) {
		now, err := c.now(ctx)
		if err != nil {
			return decision{}, err
		}
		events, err := receiver.RotateSecret(now.Add(overlap).UTC().Truncate(time.Microsecond))
		return decision{events: events}, err
	})
}

// DeleteReceiver deletes a receiver, with its credentials.
func (c *Commands) DeleteReceiver(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.DeleteReceiver, id, func(_ *attempt, receiver domain.Receiver) (decision, error) {
		events, err := receiver.Delete()
		return decision{events: events, also: []pg.Statement{
			pg.Exec(`delete from receiver_credentials where receiver_id = $1`, id),
			pg.Exec(`delete from receiver_cursor where receiver_id = $1`, id),
		}}, err
	})
}

// StopReceiver stops a receiver that cannot be delivered to, by Kluis itself.
func (c *Commands) StopReceiver(ctx context.Context, w pg.Workspace, id uuid.UUID, reason string) error {
	r, err := c.operator(ctx, w)
	if err != nil {
		return err
	}
	_, err = changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, stateOnly(func(receiver domain.Receiver) ([]domain.Event, error) { return receiver.Stop(reason) }))
	if refusal, refused := domain.Refusal(err); refused && refusal.Kind == domain.NotFound {
		return nil
	}
	return err
}

// The fields under which credentials are sealed, and secrets are derived. The id of the receiver follows.
const (
	credentialsField = "receiver.credentials/"
	signingField     = "receiver.secret/"
)

// sealCredentials gives the statement that stores credentials; none for empty credentials.
func (c *Commands) sealCredentials(ctx context.Context, w pg.Workspace, id uuid.UUID, credentials string) ([]pg.Statement, error) {
	if credentials == "" {
		return nil, nil
	}
	if err := domain.CheckCredentials(credentials); err != nil {
		return nil, err
	}
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return nil, err
	}
	sealed, err := own.Seal(credentialsField+id.String(), credentials)
	return []pg.Statement{pg.Exec(`insert into receiver_credentials (receiver_id, sealed) values ($1, $2)
		on conflict (receiver_id) do update set sealed = excluded.sealed`, id, sealed)}, err
}

// ReceiverSecret gives the secret that signs the deliveries of a webhook, in the form that its creator is shown. No place stores the secret: it is derived
// from the workspace's data key and from the number of the secret.
func (c *Commands) ReceiverSecret(ctx context.Context, w pg.Workspace, r domain.Receiver) (string, error) {
	secret, err := c.receiverSecret(ctx, w, r.ID, r.SecretNo)
	return delivery.Secret(secret), err
}

func (c *Commands) receiverSecret(ctx context.Context, w pg.Workspace, id uuid.UUID, no int) ([]byte, error) {
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return nil, err
	}
	return own.MAC(signingField+id.String(), fmt.Sprint(no)), nil
}

// OpenReceiver makes a sender to a receiver, with the secrets that are valid at a moment: now, by the database's clock.
func (c *Commands) OpenReceiver(ctx context.Context, w pg.Workspace, r domain.Receiver, at time.Time) (delivery.Sender, error) {
	target := delivery.Target{Kind: r.Kind, URL: r.URL, CA: r.CA, Subject: r.Subject, Workspace: w.ID.String(), Now: at}
	if r.Kind == domain.Webhook {
		numbers := []int{r.SecretNo}
		if r.SecretUntil != nil && at.Before(*r.SecretUntil) {
			numbers = append(numbers, r.SecretNo-1)
		}
		for _, no := range numbers {
			secret, err := c.receiverSecret(ctx, w, r.ID, no)
			if err != nil {
				return nil, err
			}
			target.Secrets = append(target.Secrets, secret)
		}
	}
	if r.TakesCredentials() {
		var sealed []string
		if err := c.DB.Read(ctx, w, pg.Column(&sealed, `select sealed from receiver_credentials where receiver_id = $1`, r.ID)); err != nil {
			return nil, fmt.Errorf("read the credentials of receiver %s: %w", r.ID, err)
		}
		own, err := c.Vault.Key(ctx, w, w.ID)
		if err != nil {
			return nil, err
		}
		for _, s := range sealed {
			if target.Credentials, err = own.Open(credentialsField+r.ID.String(), s); err != nil {
				return nil, fmt.Errorf("open the credentials of receiver %s: %w", r.ID, err)
			}
		}
	}
	return c.Outside.Open(target)
}
