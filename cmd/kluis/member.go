package main

import (
	"context"
	"fmt"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
)

// member is `kluis member unlock|reset-two-factor|make-admin`, for a workspace whose only admin cannot act. The operator needs the database and the keys.
// The log records the command as done by Kluis itself.
type member struct {
	Unlock         memberUnlock    `cmd:"" help:"End the lock of a member's account."`
	ResetTwoFactor memberReset     `cmd:"" name:"reset-two-factor" help:"Turn off the second factor of a member who has lost the device. Sessions and API tokens end, and the member gets a mail."`
	MakeAdmin      memberMakeAdmin `cmd:"" name:"make-admin" help:"Make an active member an admin."`
}

type (
	memberUnlock    struct{ memberArgs }
	memberReset     struct{ memberArgs }
	memberMakeAdmin struct{ memberArgs }
)

func (m memberUnlock) Run(ctx context.Context, out outputs) error {
	return m.run(ctx, out, "unlocked", (*commands.Commands).OperatorUnlock)
}

func (m memberReset) Run(ctx context.Context, out outputs) error {
	return m.run(ctx, out, "the second factor is off", (*commands.Commands).OperatorResetTwoFactor)
}

func (m memberMakeAdmin) Run(ctx context.Context, out outputs) error {
	return m.run(ctx, out, "is an admin", (*commands.Commands).OperatorMakeAdmin)
}

type memberArgs struct {
	settings
	PublicURL string   `name:"public-url" env:"KLUIS_PUBLIC_URL" placeholder:"URL" help:"Where people reach Kluis, for the links in mails."`
	Limits    []string `env:"KLUIS_LIMITS" placeholder:"NAME=COUNT/DURATION,..." help:"As for serve."`
	Workspace string   `arg:"" help:"The workspace."`
	Email     string   `arg:"" help:"The member's address."`
}

func (m memberArgs) run(ctx context.Context, out outputs, done string, do func(*commands.Commands, context.Context, pg.Workspace, string, string) error) error {
	rules, err := limit.Parse(m.Limits)
	if err != nil {
		return usageError{fmt.Errorf("KLUIS_LIMITS: %w", err)}
	}
	b, entry, keys, err := m.openKeyed(ctx, out, m.Workspace)
	if err != nil {
		return err
	}
	defer b.close()
	made, err := b.Commands(ctx, commands.Needs{Keys: keys, PublicURL: m.PublicURL}, rules)
	if err != nil {
		return err
	}
	if err := do(made, ctx, entry.Workspace(), entry.Slug, m.Email); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%s of %s: %s\n", m.Email, entry.Slug, done)
	return err
}
