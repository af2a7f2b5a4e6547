package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
)

// restored is `kluis restored`: what is done once after a backup was put back, before Kluis serves from it. Whatever the
// database may have been used for between the backup and its restore, nobody knows here.
type restored struct {
	settings
	outside
}

func (r restored) Run(ctx context.Context, out outputs) error {
	c, err := r.singleCell(r.outside)
	if err != nil {
		return err
	}
	keys, err := c.loadRestoredKeys()
	if err != nil {
		return err
	}
	b, err := c.openThere(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.migrate(ctx); err != nil {
		return err
	}
	if err := c.heedMoves(ctx, b, out); err != nil {
		return err
	}
	if err := b.restored(ctx, out); err != nil {
		return err
	}
	return c.heedLedger(ctx, b, keys, out)
}

func (b *base) restored(ctx context.Context, out outputs) error {
	if err := b.Tenancy.Heal(ctx); err != nil {
		return err
	}
	signups, mails, err := b.endWaiting(ctx)
	if err != nil {
		return err
	}
	entries, err := b.Tenancy.All(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WORKSPACE\tEPOCH\tSESSIONS\tAPI TOKENS\tCODES\tRECOVERY CODES")
	var sum domain.WorkspaceRestored
	for _, e := range entries {
		done, err := commands.Restored(ctx, b.DB, b.Store, e.Workspace())
		if err != nil {
			return fmt.Errorf("workspace %q (run it again: those before it begin one more epoch): %w", e.Slug, err)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\n", e.Slug, done.Epoch, done.Sessions, done.Tokens, done.Codes, done.RecoveryCodes)
		sum.Sessions, sum.Tokens = sum.Sessions+done.Sessions, sum.Tokens+done.Tokens
		sum.Codes, sum.RecoveryCodes = sum.Codes+done.Codes, sum.RecoveryCodes+done.RecoveryCodes
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%d workspaces: ended %d sessions, %d API tokens, %d codes, %d recovery codes, %d sign-ups, %d mails that waited\n"+
		"passwords, roles and members are those of the backup: look at what was changed since\n",
		len(entries), sum.Sessions, sum.Tokens, sum.Codes, sum.RecoveryCodes, signups, mails)
	return err
}

// endWaiting ends what waits in the control schema: sign-ups, mails, and signals, which whoever reads finds again by themselves.
func (b *base) endWaiting(ctx context.Context) (signups, mails int64, err error) {
	err = b.DB.Own(ctx, "kluis", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from kluis.signal`); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `delete from kluis.signup`)
		if err != nil {
			return err
		}
		signups = tag.RowsAffected()
		tag, err = tx.Exec(ctx, `delete from kluis_jobs.river_job where finalized_at is null`)
		mails = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("end what waits: %w", err)
	}
	return signups, mails, nil
}
