package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// erasureGrace is the setting for the time in which the erasure of a workspace can be cancelled.
type erasureGrace struct {
	ErasureGrace time.Duration `name:"erasure-grace" env:"KLUIS_ERASURE_GRACE" default:"72h" help:"Time between the request to erase a workspace and the erasure, in which any admin may cancel."`
}

func (g erasureGrace) check() error {
	if g.ErasureGrace <= 0 {
		return usageError{errors.New("KLUIS_ERASURE_GRACE: expected a time such as 72h")}
	}
	return nil
}

// workspaceErase is `kluis workspace erase`.
type workspaceErase struct {
	settings
	outside
	erasureGrace
	PublicURL string `name:"public-url" env:"KLUIS_PUBLIC_URL" placeholder:"URL" help:"Where people reach Kluis. The certificate has it."`
	Confirm   string `placeholder:"SLUG" help:"The workspace once more, to confirm that it and everything in it is to be erased."`
	Now       bool   `help:"Erase at once, and wait until that is done. Otherwise a server erases the workspace at the end of KLUIS_ERASURE_GRACE."`
	Cancel    bool   `help:"Cancel an erasure that has not begun."`
	Slug      string `arg:"" help:"The workspace."`
}

func (e workspaceErase) Run(ctx context.Context, out outputs) error {
	if err := e.erasureGrace.check(); err != nil {
		return err
	}
	if !e.Cancel && e.Confirm != e.Slug {
		return usageError{fmt.Errorf("everything in the workspace is erased, and no backup brings it back: confirm with --confirm %s", e.Slug)}
	}
	cell, err := e.of(ctx, out, e.outside, e.Slug)
	if err != nil {
		return err
	}
	b, keys, err := cell.openKeyed(ctx, out)
	if err != nil {
		return err
	}
	defer b.close()
	c, err := cell.eraser(ctx, b, keys, e.PublicURL, e.ErasureGrace)
	if err != nil {
		return err
	}
	entry, err := b.Tenancy.BySlug(ctx, e.Slug)
	if err != nil {
		return err
	}
	if e.Cancel {
		if err := c.OperatorKeep(ctx, entry.Workspace()); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out.stdout, "%s is kept\n", e.Slug)
		return err
	}
	return e.erase(ctx, out, c, entry)
}

func (e workspaceErase) erase(ctx context.Context, out outputs, c *commands.Commands, entry tenancy.Entry) error {
	w := entry.Workspace()
	if entry.Status != "erasing" { // an erasure that has begun goes on
		wanted, err := c.OperatorErase(ctx, w, e.Slug, e.Now)
		if pg.Is(err, pg.AccessDenied) {
			return fmt.Errorf("%s is closed: kluis workspace open %s", e.Slug, e.Slug)
		}
		if err != nil {
			return err
		}
		if !e.Now {
			_, err := fmt.Fprintf(out.stdout, "%s is erased at %s; until then: kluis workspace erase --cancel %s\n", e.Slug, wanted.ErasesAt.Format(time.RFC3339), e.Slug)
			return err
		}
	}
	if err := eraseNow(ctx, out, c, w, e.Slug); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out.stdout, "%s is erased: kluis workspace certificate %s\n", e.Slug, e.Slug)
	return err
}

// eraseNow runs an erasure that is due to its end. While another process runs it, eraseNow waits until that process has finished or died.
func eraseNow(ctx context.Context, out outputs, c *commands.Commands, w pg.Workspace, slug string) error {
	for {
		_, found, err := c.NextErasure(ctx, &w)
		if err != nil {
			return err
		}
		if found {
			return c.RunErasure(ctx, w, func(step string) error {
				_, err := fmt.Fprintf(out.stderr, "erasing %s: %s\n", slug, step)
				return err
			})
		}
		if certificate, err := certificateOf(ctx, c.DB, slug); err != nil || certificate != "" {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// eraser makes the commands that erase.
func (c cell) eraser(ctx context.Context, b *base, keys *keyring.Keyring, publicURL string, grace time.Duration) (*commands.Commands, error) {
	blobs, err := c.blobStore(ctx, c.Data)
	if err != nil {
		return nil, err
	}
	kept, err := c.kept(ctx, blobs)
	if err != nil {
		return nil, err
	}
	return b.Commands(ctx, commands.Needs{Keys: keys, Blobs: blobs, Kept: kept, PublicURL: publicURL, ErasureGrace: grace}, limit.Defaults())
}

// heedLedger erases again the workspaces and members that a backup brought back, before anybody is served.
func (c cell) heedLedger(ctx context.Context, b *base, keys *keyring.Keyring, out outputs) error {
	eraser, err := c.eraser(ctx, b, keys, "", 0)
	if err != nil {
		return err
	}
	entries, err := b.Tenancy.All(ctx)
	if err != nil {
		return err
	}
	whole, err := eraser.HeedLedger(ctx, entries)
	for _, w := range whole {
		if err == nil {
			err = eraseNow(ctx, out, eraser, w, w.ID.String())
		}
	}
	if err == nil && len(whole) > 0 {
		_, err = fmt.Fprintf(out.stdout, "%d workspaces that were erased after the backup are erased again\n", len(whole))
	}
	return err
}

// workspaceCertificate is `kluis workspace certificate`.
type workspaceCertificate struct {
	settings
	Slug string `arg:"" help:"The workspace that was erased."`
}

func (w workspaceCertificate) Run(ctx context.Context, out outputs) error {
	found := false
	err := w.eachBase(ctx, out, func(c cell, b *base) error {
		signed, err := certificateOf(ctx, b.DB, w.Slug)
		if err != nil || signed == "" {
			return err
		}
		found = true
		keys, err := keyring.Load(c.keysFile(), c.KeysInline)
		if err != nil {
			return err
		}
		if _, err := checkpoint.OpenErasure([]byte(signed), keys.PublicKeys()); err != nil {
			fmt.Fprintf(out.stderr, "none of the keys that are here now signed the certificate: %v\n", err)
		}
		_, err = fmt.Fprint(out.stdout, signed)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("there is no certificate of an erasure of %q", w.Slug)
	}
	return err
}

// certificateOf gives the signed certificate of an erasure, by the slug or the id of the workspace; empty when there is none.
func certificateOf(ctx context.Context, db *pg.DB, slug string) (signed string, err error) {
	err = db.Control(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `select coalesce(certificate, '') from kluis.erasure where slug = $1 or workspace_id::text = $1`, slug).Scan(&signed)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return signed, err
}
