package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// restored is `kluis restored`, which the operator runs once after a backup was put back, before Kluis serves from it.
type restored struct {
	settings
	outside
	Slug string `arg:"" optional:"" name:"workspace" help:"The workspace, when its schema alone was put back, while the others are in use."`
}

func (r restored) Run(ctx context.Context, out outputs) error {
	c, err := r.singleCell(r.outside)
	if r.Slug != "" {
		c, err = r.of(ctx, out, r.outside, r.Slug)
	}
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
	if r.Slug != "" {
		return r.one(ctx, c, b, keys, out)
	}
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

// one is for one workspace whose schema was put back: the rest of the database was not.
func (r restored) one(ctx context.Context, c cell, b *base, keys *keyring.Keyring, out outputs) error {
	e, err := b.Tenancy.BySlug(ctx, r.Slug)
	if err != nil {
		return err
	}
	if err := b.Tenancy.PutBack(ctx, e); err != nil {
		return err
	}
	if err := b.migrate(ctx); err != nil {
		return err
	}
	ended, err := b.endEach(ctx, []tenancy.Entry{e}, out)
	if err != nil {
		return err
	}
	eraser, err := c.eraser(ctx, b, keys, "", 0)
	if err != nil {
		return err
	}
	if _, err := eraser.HeedLedger(ctx, []tenancy.Entry{e}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%s: ended %s\n%s\n", e.Slug, ended, checkRights)
	return err
}

// ended counts what a backup brought back alive.
type ended domain.WorkspaceRestored

func (e ended) String() string {
	return fmt.Sprintf("%d sessions, %d API tokens, %d codes, %d recovery codes", e.Sessions, e.Tokens, e.Codes, e.RecoveryCodes)
}

const checkRights = "passwords, roles and members are those of the backup: check what was changed since"

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
	ended, err := b.endEach(ctx, entries, out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.stdout, "%d workspaces: ended %s, %d sign-ups, %d mails that waited\n%s\n", len(entries), ended, signups, mails, checkRights)
	return err
}

// endEach begins an epoch of each log, and ends what the backup brought back alive of each workspace.
func (b *base) endEach(ctx context.Context, entries []tenancy.Entry, out outputs) (sum ended, err error) {
	table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WORKSPACE\tEPOCH\tSESSIONS\tAPI TOKENS\tCODES\tRECOVERY CODES")
	for _, e := range entries {
		done, err := commands.Restored(ctx, b.DB, b.Store, e.Workspace())
		if err != nil {
			return sum, fmt.Errorf("workspace %q (run the command again: the workspaces before this one then begin one more epoch): %w", e.Slug, err)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\n", e.Slug, done.Epoch, done.Sessions, done.Tokens, done.Codes, done.RecoveryCodes)
		sum.Sessions, sum.Tokens = sum.Sessions+done.Sessions, sum.Tokens+done.Tokens
		sum.Codes, sum.RecoveryCodes = sum.Codes+done.Codes, sum.RecoveryCodes+done.RecoveryCodes
	}
	return sum, table.Flush()
}

// endWaiting deletes waiting sign-ups and mails from the control schema, and the signals. The reads of a workspace catch up without signals.
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
		return 0, 0, fmt.Errorf("end waiting sign-ups and mails: %w", err)
	}
	return signups, mails, nil
}
