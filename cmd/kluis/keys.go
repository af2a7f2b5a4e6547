package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
)

// keys is `kluis keys new|rotate|status`.
type keys struct {
	New    keysNew    `cmd:"" help:"Put a fresh key first into the key file, or make the file. Running servers take it up by themselves."`
	Rotate keysRotate `cmd:"" help:"Move everything to the first key, while servers run. It may be killed, and run again."`
	Status keysStatus `cmd:"" help:"Say which keys there are, and how much is sealed with each."`
}

// keysNew needs no database.
type keysNew struct {
	settings
	Last bool `help:"Put it last: it only decrypts until you move its line to the top. For servers that do not share one file: give all of them the file, then move the line."`
}

func (k keysNew) Run(out outputs) error {
	if k.KeysInline != "" {
		return usageError{errors.New("KLUIS_KEYS_INLINE is set: add the key there, behind the others until every server has it, then first; or use a file")}
	}
	path := k.keysFile()
	add := keyring.Prepend
	if k.Last {
		add = keyring.Append
	}
	err := add(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = keyring.Create(path)
	}
	if err != nil {
		return err
	}
	ring, err := keyring.Load(path, "")
	if err != nil {
		return err
	}
	ids := ring.IDs()
	switch {
	case len(ids) == 1:
		fmt.Fprintf(out.stdout, "%s: made, with the key %s\nkeep a copy of it elsewhere: without it nothing sealed can be read\n", path, ids[0])
	case k.Last:
		fmt.Fprintf(out.stdout, "%s: the last key is %s; %s still encrypts\n", path, ids[len(ids)-1], ids[0])
	default:
		fmt.Fprintf(out.stdout, "%s: the first key is %s; %s only decrypts\nkeep a copy of it elsewhere, then run `kluis keys rotate`\n",
			path, ids[0], strings.Join(ids[1:], ", "))
	}
	return nil
}

type keysRotate struct{ settings }

// codeLife is for how long a code in a mail is good that the keyring itself made a MAC of: that of a sign-up or of a
// forgotten password.
const codeLife = 15 * time.Minute

func (k keysRotate) Run(ctx context.Context, out outputs) error {
	return k.withoutMoves(ctx, out, func(ctx context.Context) error { return k.rotate(ctx, out) })
}

// withoutMoves has no workspace move meanwhile: see tenancy.LockMove. The home has the lock.
func (k keysRotate) withoutMoves(ctx context.Context, out outputs, do func(context.Context) error) error {
	everywhere := k.settings
	everywhere.Region = ""
	all, err := everywhere.cells(outside{})
	if err != nil {
		return err
	}
	if len(all) == 1 {
		return do(ctx)
	}
	home, err := all[0].openThere(ctx, out.stderr)
	if err != nil {
		return fmt.Errorf("region %s, which knows whether a workspace is being moved: %w", all[0].name, err)
	}
	defer home.close()
	return home.DB.Control(ctx, func(tx pgx.Tx) error {
		if err := tenancy.LockMoves(ctx, tx); err != nil {
			return err
		}
		return pg.KeepAlive(ctx, tx, do)
	})
}

func (k keysRotate) rotate(ctx context.Context, out outputs) error {
	return k.withRotation(ctx, out, func(r vault.Rotation) error {
		fmt.Fprintf(out.stdout, "everything goes to the key %s\n", r.Keys.IDs()[0])
		census, err := r.Run(ctx)
		if err != nil {
			return err
		}
		for _, id := range census.Keys[1:] {
			fmt.Fprintf(out.stdout, "key %s is no longer used\n", id)
		}
		switch good := r.Keys.Changed().Add(codeLife + keyring.LookEvery); {
		case len(census.Keys) == 1:
			fmt.Fprintf(out.stdout, "key %s is the only one\n", census.Keys[0])
		case good.After(time.Now()):
			fmt.Fprintf(out.stdout, "remove it after %s: codes in mails that were sent before the new key are good until then\n", good.Format(time.TimeOnly))
		}
		return unopened(census)
	})
}

type keysStatus struct{ settings }

func (k keysStatus) Run(ctx context.Context, out outputs) error {
	return k.withRotation(ctx, out, func(r vault.Rotation) error {
		census, err := r.Count(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "KEY\tUSE\t%s\tVERIFIES WITH\n", strings.ToUpper(strings.Join(vault.Places, "\t")))
		public := r.Keys.PublicKeys()
		for i, id := range census.Keys {
			use := "decrypts"
			if i == 0 {
				use = "encrypts"
			}
			fmt.Fprintf(table, "%s\t%s", id, use)
			for _, place := range vault.Places {
				fmt.Fprintf(table, "\t%d", census.Values[place][id])
			}
			fmt.Fprintf(table, "\t%s\n", public[i])
		}
		return errors.Join(table.Flush(), unopened(census))
	})
}

// unopened reports what does not open, without showing any of it.
func unopened(c vault.Census) error {
	if len(c.Unopened) == 0 {
		return nil
	}
	const most = 20
	shown := c.Unopened[:min(len(c.Unopened), most)]
	return fmt.Errorf("%d sealed values do not open: damaged, moved, or under a key that is not here:\n  %s", len(c.Unopened), strings.Join(shown, "\n  "))
}

// withRotation opens the database of each cell and the keys, which must be there.
func (s settings) withRotation(ctx context.Context, out outputs, do func(vault.Rotation) error) error {
	return s.each(ctx, outside{}, func(c cell) error {
		b, err := c.openThere(ctx, out.stderr)
		if err != nil {
			return err
		}
		defer b.close()
		ring, err := keyring.Load(s.keysFile(), s.KeysInline)
		if err != nil {
			return err
		}
		if !c.alone {
			fmt.Fprintf(out.stdout, "region %s\n", c.name)
		}
		r := b.rotation(ring)
		r.Progress = rotationProgress(out.stderr)
		return do(r)
	})
}

// rotation is one of all there is.
func (b *base) rotation(ring *keyring.Keyring) vault.Rotation {
	return vault.Rotation{DB: b.DB, Keys: ring, Workspaces: func(ctx context.Context) ([]pg.Workspace, error) {
		entries, err := b.Tenancy.Keyed(ctx)
		if pg.Is(err, pg.UndefinedTable) {
			return nil, nil // a database that was never migrated
		}
		workspaces := make([]pg.Workspace, len(entries))
		for i, e := range entries {
			workspaces[i] = e.Workspace()
		}
		return workspaces, err
	}}
}

// followKeys takes up what changes in the key file until ctx ends. A key that is taken out while something is sealed with
// it stays in use, and the log says so at once: at the next start it would be too late.
func (o *bases) followKeys(ctx context.Context, ring *keyring.Keyring) {
	ring.Follow(ctx, func(err error) {
		if err != nil {
			o.log.ErrorContext(ctx, "the key file has changed and is not as it must be: going on with the keys of before", "keys", ring, "error", err.Error())
			return
		}
		o.log.InfoContext(ctx, "the key file has changed", "keys", ring)
	}, func(ctx context.Context, left *keyring.Keyring) error {
		for _, b := range o.opened() {
			census, err := b.rotation(left).Count(ctx)
			if err != nil {
				return err
			}
			if err := unopened(census); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkKeys refuses to serve with keys that do not open what is in the database: those of another installation, or
// ones made anew because the right file was not there.
func (b *base) checkKeys(ctx context.Context, ring *keyring.Keyring) error {
	oldest, err := b.Tenancy.List(ctx, 1)
	if err != nil || len(oldest) == 0 {
		return err
	}
	return vault.New(b.DB, ring).Check(ctx, oldest[0].Workspace())
}

// rotationProgress says on stderr how far it is, about once a second, and at the end of each pass.
func rotationProgress(stderr io.Writer) func(vault.Progress) {
	last := time.Now()
	return func(p vault.Progress) {
		if time.Since(last) < time.Second && p.Workspaces < p.Of {
			return
		}
		last = time.Now()
		fmt.Fprintf(stderr, "%d of %d workspaces, %d values rewrapped\n", p.Workspaces, p.Of, p.Rewrapped)
	}
}
