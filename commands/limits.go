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

// The limits of an account count failed log-ins, wrong codes of its second factor, and codes for a new password. Log-ins and codes for a new password
// are counted by the circle of the caller (see limit.Circles), or for callers with a session; codes of the second factor are counted for all callers.
var (
	loginLimits  = []string{limit.LoginAccount, limit.LoginDay, limit.LoginRun}
	factorLimits = []string{limit.FactorDay, limit.FactorRun}
	forgotLimits = []string{limit.ResetAccount, limit.ResetDay}
)

// inSessions is the circle of callers with a session of the member. The failures of strangers do not count there.
const inSessions = "session"

// subject is the key under which an account is counted.
func (n accountName) subject() string { return n.slug + "\x00" + n.email }

func (n accountName) counters(circle string, names ...string) (counters []limit.Counter) {
	for _, name := range names {
		counters = append(counters, limit.Counter{Name: name, Subject: n.subject(), Circle: circle})
	}
	return counters
}

// client is the source of a request, as far as limits go.
type client struct {
	from   Origin
	device string // the device token from the answer to an earlier log-in; empty for none
}

// tryLogin reserves an attempt at the password of an account: first for the networks of the request, then for the account in its circle. A device that
// the account knows has a counter of its own, whatever others in its network do. When that counter is full, the device counts as any other client.
func (c *Commands) tryLogin(ctx context.Context, who accountName, by client) (limit.Try, error) {
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

// tryFactor runs compare, which compares a code with an account's second factor. It counts the attempt first, for the account, wherever the attempt comes
// from. Only somebody with the password gets this far. A new password does not reset the counter, and another network does not avoid it.
func (c *Commands) tryFactor(ctx context.Context, who accountName, compare func() (*factor, error)) (*factor, error) {
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

// tryMailed runs an operation that takes a code from a mail. It first counts the attempt as a failed log-in for the networks of the request, so that
// codes of many accounts are as hard to guess as passwords. Only a wrong code stays counted, and is recorded under the name of the operation.
func (c *Commands) tryMailed(ctx context.Context, who accountName, from Origin, operation string, do func() error) error {
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

// tryInvite counts an invitation before it is sent, so that a stranger gets few mails, however many workspaces invite the address.
func (c *Commands) tryInvite(ctx context.Context, by projections.Actor, normal string) (*limit.Try, error) {
	try, err := c.Limits.Try(ctx, []limit.Counter{{Name: limit.InviteEmail, Subject: normal},
		{Name: limit.InviteMember, Subject: by.Member.String()}, {Name: limit.InviteDay, Subject: by.Workspace.ID.String()}})
	if err != nil {
		return nil, tooMany(err)
	}
	return &try, nil
}

// settleInvite gives the count of an invitation back when the invitation failed, and returns its error.
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

// tooMany turns the error of a limit into a refusal. The refusal does not tell whether the account exists.
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
		refusal = domain.Refuse(domain.TooMany, "attempts_under_way", "other attempts are under way: try again in a few seconds")
	}
	refusal.RetryAfter, refusal.Limit = exceeded.Wait, exceeded.Name
	return refusal
}

// network names the queue in which a request waits for a hash: the widest network of its address.
func (o Origin) network() string {
	networks := limit.Networks(o.IP)
	return networks[len(networks)-1]
}

// hash hashes a password, as soon as the hasher has a free slot.
func (c *Commands) hash(ctx context.Context, from Origin, plain string) (string, error) {
	phc, err := c.Hasher.Hash(ctx, from.network(), plain)
	return phc, busyHashing(err)
}

func busyHashing(err error) error {
	if !errors.Is(err, password.ErrBusy) {
		return err
	}
	busy := domain.Refuse(domain.Unavailable, "busy", "too many people are signing in at this moment: try again in a few seconds")
	busy.RetryAfter = 2 * time.Second
	return busy
}
