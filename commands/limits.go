package commands

import (
	"context"
	"errors"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/projections"
)

// The limits of an account count failed log-ins, wrong codes of its second factor, and codes for a new password. The first
// count for the circle in which somebody tries (see limit.Circles), or for those who have a session; so does the last.
var (
	loginLimits  = []string{limit.LoginAccount, limit.LoginDay, limit.LoginRun}
	factorLimits = []string{limit.FactorDay, limit.FactorRun}
	forgotLimits = []string{limit.ResetAccount, limit.ResetDay}
)

// inSessions is the circle of those who have a session of the member: no stranger's failures count there.
const inSessions = "session"

// subject is under what an account is counted: its name, and the workspace's.
func (n named) subject() string { return n.slug + "\x00" + n.email }

func (n named) counters(circle string, names ...string) (counters []limit.Counter) {
	for _, name := range names {
		counters = append(counters, limit.Counter{Name: name, Subject: n.subject(), Circle: circle})
	}
	return counters
}

// client is the source of a request, as far as limits go.
type client struct {
	from   Origin
	device string // the token that its last login answered; empty when it has none
}

// tryLogin reserves an attempt at the password of an account: first for the networks of the request, then for the account in its circle. A
// device that the account knows has a count of its own, whatever others do in its network. A known device that has failed too often counts
// as any other client.
func (c *Commands) tryLogin(ctx context.Context, who named, by client) (limit.Try, error) {
	circles, err := c.Limits.Circles(ctx, who.subject(), by.from.IP, by.device)
	if err != nil {
		return limit.Try{}, err
	}
	var try limit.Try
	for _, circle := range circles {
		groups := [][]limit.Counter{limit.Network(limit.LoginIP, by.from.IP), who.counters(circle, loginLimits...)}
		if limit.IsDevice(circle) {
			groups = groups[1:]
		}
		try, err = c.Limits.Try(ctx, groups...)
		exceeded, is := errors.AsType[*limit.ExceededError](err)
		if !is || exceeded.Busy {
			break
		}
	}
	return try, err
}

// tryFactor compares a code of an account's second factor. It counts the attempt first, for the account wherever the attempt comes from.
// Only somebody with the password gets this far, and neither a new password nor another network helps.
func (c *Commands) tryFactor(ctx context.Context, who named, compare func() (*factor, error)) (*factor, error) {
	try, err := c.Limits.Try(ctx, who.counters("", factorLimits...))
	if err != nil {
		return nil, tooMany(err)
	}
	shown, err := compare()
	ctx = context.WithoutCancel(ctx)
	switch {
	case err != nil:
		return nil, errors.Join(err, try.GiveBack(ctx))
	case shown == nil:
		_, err = try.Failed(ctx)
		return nil, err
	}
	return shown, try.GiveBack(ctx, limit.FactorRun)
}

// tryMailed runs what takes a code from a mail. It first counts the attempt as a failed log-in for the networks of the request, so that
// codes of many accounts are as hard to try as passwords. Only a wrong code stays counted. The log has it under the name of the operation.
func (c *Commands) tryMailed(ctx context.Context, who named, from Origin, operation string, do func() error) error {
	try, err := c.Limits.Try(ctx, limit.Network(limit.LoginIP, from.IP))
	if err != nil {
		return tooMany(err)
	}
	err = do()
	if r, refused := domain.Refusal(err); refused && r.Code == badCodeName {
		c.noteStranger(ctx, who, from, operation, badCodeName)
		_, settled := try.Failed(context.WithoutCancel(ctx))
		return errors.Join(err, settled)
	}
	return errors.Join(err, try.GiveBack(context.WithoutCancel(ctx)))
}

// tryInvite counts an invitation before it is made, so that strangers get few mails, however many workspaces invite them.
func (c *Commands) tryInvite(ctx context.Context, by projections.Actor, normal string) (*limit.Try, error) {
	try, err := c.Limits.Try(ctx, []limit.Counter{{Name: limit.InviteEmail, Subject: normal},
		{Name: limit.InviteMember, Subject: by.Member.String()}, {Name: limit.InviteDay, Subject: by.Workspace.ID.String()}})
	if err != nil {
		return nil, tooMany(err)
	}
	return &try, nil
}

// settleInvite keeps an invitation counted that was made, and gives the outcome.
func settleInvite(ctx context.Context, try *limit.Try, ended error) error {
	switch {
	case try == nil:
		return ended
	case ended != nil:
		return errors.Join(ended, try.GiveBack(ctx))
	}
	_, err := try.Failed(ctx)
	return err
}

// tooMany is the refusal of a request over a limit. It is the same whether there is such an account or not.
func tooMany(err error) error {
	exceeded, ok := errors.AsType[*limit.ExceededError](err)
	if !ok {
		return err
	}
	refusal := domain.Refuse(domain.TooMany, "too_many_requests", "there were too many requests of this kind from here: try again later")
	switch exceeded.Name {
	case limit.LoginAccount, limit.LoginDay, limit.LoginRun:
		refusal = domain.Refuse(domain.TooMany, "locked", "there were too many wrong passwords: wait, or ask for a new password")
	case limit.FactorDay, limit.FactorRun:
		refusal = domain.Refuse(domain.TooMany, "locked", "there were too many wrong codes: wait, or ask an admin to unlock the account")
	case limit.SignupDomain:
		refusal = domain.Refuse(domain.TooMany, "too_many_requests", "there were too many sign-ups with this e-mail domain: try again later")
	case limit.InviteEmail:
		refusal = domain.Refuse(domain.TooMany, "too_many_requests", "there were too many invitations to this address: try again later")
	}
	if exceeded.Busy {
		refusal = domain.Refuse(domain.TooMany, "attempts_under_way", "others try the same at this moment: try again in a few seconds")
	}
	refusal.RetryAfter, refusal.Limit = exceeded.Wait, exceeded.Name
	return refusal
}

// network is the queue in which a request waits for a hash: the widest network of the request.
func (o Origin) network() string {
	networks := limit.Networks(o.IP)
	return networks[len(networks)-1]
}

// hash hashes a password when there is a free slot.
func (c *Commands) hash(ctx context.Context, from Origin, plain string) (string, error) {
	phc, err := c.Hasher.Hash(ctx, from.network(), plain)
	return phc, busyHashing(err)
}

func busyHashing(err error) error {
	if !errors.Is(err, password.ErrBusy) {
		return err
	}
	busy := domain.Refuse(domain.Unavailable, "busy", "too many are signing in at this moment")
	busy.RetryAfter = 2 * time.Second
	return busy
}
