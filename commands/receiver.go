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

// CreateReceiver has events of the workspace go to a system outside. credentials are what Kluis shows there; empty for none.
func (c *Commands) CreateReceiver(ctx context.Context, r Request, wanted domain.ReceiverCreated, credentials string) (Result[domain.Receiver], error) {
	id := uuid.Must(uuid.NewV7())
	wanted.Credentials = credentials != ""
	store, err := c.sealCredentials(ctx, r.By.Workspace, id, credentials)
	if err != nil {
		return Result[domain.Receiver]{}, err
	}
	others := 0
	return create(ctx, c, r, projections.Receivers, domain.CreateReceiver, id, func(a *attempt) (creation, error) {
		if err := mayReceive(a.by, wanted.Opened); err != nil {
			return creation{}, err
		}
		events, err := domain.NewReceiver(wanted, others)
		if err == nil {
			err = c.reachable(domain.Receiver{Kind: wanted.Kind, URL: wanted.URL, CA: wanted.CA})
		}
		return creation{events: events, also: store}, err
	}, projections.CountReceivers(&others))
}

// UpdateReceiver changes settings of a receiver, and its credentials unless those are empty. Those that are stored are stored in one
// commit with an event of the receiver, so that the version of its stream guards them as well.
func (c *Commands) UpdateReceiver(ctx context.Context, r Request, id uuid.UUID, wanted domain.ReceiverChange, credentials string) (Result[domain.Receiver], error) {
	wanted.Credentials = credentials != ""
	store, err := c.sealCredentials(ctx, r.By.Workspace, id, credentials)
	if err != nil {
		return Result[domain.Receiver]{}, err
	}
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, func(a *attempt, receiver domain.Receiver) (creation, error) {
		events, err := receiver.Change(wanted)
		if err != nil || events == nil {
			return creation{}, err
		}
		after := receiver
		for _, e := range events {
			after.Apply(domain.Record{Event: e})
		}
		if err = mayReceive(a.by, after.Opened); err == nil {
			err = c.reachable(after)
		}
		return creation{events: events, also: store}, err
	}, pg.Exec(`select exists (select from receiver_credentials where receiver_id = $1)`, id).Scan(&wanted.Shown))
}

// mayReceive refuses to send out what the caller may not read.
func mayReceive(by projections.Actor, opened bool) error {
	if err := allow(by, domain.ReadAudit); err != nil {
		return err
	}
	if opened && by.Scope(domain.ReadMember) != domain.All {
		return domain.Refuse(domain.Forbidden, "forbidden", "your role %q does not grant %s over all members, whose names would be sent", by.Role.Name, domain.ReadMember)
	}
	return nil
}

// reachable refuses what could never be delivered to. Where a name leads is seen when there is something to deliver.
func (c *Commands) reachable(r domain.Receiver) error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return domain.InvalidField("/url", "must be a URL")
	}
	if !r.Encrypted() && !c.Outside.Plain() {
		return domain.InvalidField("/url", "must be encrypted: the operator of Kluis allows nothing else (KLUIS_RECEIVER_NETWORKS)")
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

// PauseReceiver and ResumeReceiver stop delivery, and go on where it stopped.
func (c *Commands) PauseReceiver(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, stateOnly(domain.Receiver.Pause))
}

// ResumeReceiver goes on where delivery stopped.
func (c *Commands) ResumeReceiver(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, func(a *attempt, receiver domain.Receiver) (creation, error) {
		if err := mayReceive(a.by, receiver.Opened); err != nil {
			return creation{}, err
		}
		events, err := receiver.Resume()
		return creation{events: events}, err
	})
}

// ReplayReceiver begins once more, from a position on.
func (c *Commands) ReplayReceiver(ctx context.Context, r Request, id uuid.UUID, from int64) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, func(a *attempt, receiver domain.Receiver) (creation, error) {
		if err := mayReceive(a.by, receiver.Opened); err != nil {
			return creation{}, err
		}
		events, err := receiver.Replay(from, a.mark.Head)
		return creation{events: events}, err
	})
}

// RotateReceiverSecret gives a webhook another secret. The one before signs as well for the overlap.
func (c *Commands) RotateReceiverSecret(ctx context.Context, r Request, id uuid.UUID, overlap time.Duration) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, func(_ *attempt, receiver domain.Receiver) (creation, error) {
		now, err := c.now(ctx)
		if err != nil {
			return creation{}, err
		}
		events, err := receiver.RotateSecret(now.Add(overlap).UTC().Truncate(time.Microsecond))
		return creation{events: events}, err
	})
}

// DeleteReceiver takes a receiver away, with its credentials.
func (c *Commands) DeleteReceiver(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Receiver], error) {
	return changeOne(ctx, c, r, projections.Receivers, domain.DeleteReceiver, id, func(_ *attempt, receiver domain.Receiver) (creation, error) {
		events, err := receiver.Delete()
		return creation{events: events, also: []pg.Statement{
			pg.Exec(`delete from receiver_credentials where receiver_id = $1`, id),
			pg.Exec(`delete from receiver_cursor where receiver_id = $1`, id),
		}}, err
	})
}

// StopReceiver is what Kluis itself does with a receiver that cannot be delivered to.
func (c *Commands) StopReceiver(ctx context.Context, w pg.Workspace, id uuid.UUID, reason string) error {
	operator, err := c.Projections.Operator(ctx, w)
	if err != nil {
		return err
	}
	r := Request{By: *operator, renew: func(ctx context.Context, _ projections.Actor) (*projections.Actor, error) {
		return c.Projections.Operator(ctx, w)
	}}
	_, err = changeOne(ctx, c, r, projections.Receivers, domain.UpdateReceiver, id, stateOnly(func(receiver domain.Receiver) ([]domain.Event, error) { return receiver.Stop(reason) }))
	if refusal, refused := domain.Refusal(err); refused && refusal.Kind == domain.NotFound {
		return nil
	}
	return err
}

// The fields under which secrets of receivers are sealed and made.
const (
	credentialsField = "receiver.credentials/"
	signingField     = "receiver.secret/"
)

// sealCredentials gives what stores credentials; nothing when there are none.
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

// ReceiverSecret is the secret with which a webhook is signed, as it is shown to whoever made or rotated it. It is stored nowhere: it is
// made of the workspace's data key and of how many the receiver has had.
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

// OpenReceiver makes what sends to a receiver, with its secrets at a moment, which is now by the database's clock.
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
