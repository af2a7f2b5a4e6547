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
	New    keysNew    `cmd:"" help:"Add a new first key to the key file, or make the file. Running servers read the change by themselves."`
	Rotate keysRotate `cmd:"" help:"Encrypt everything with the first key, while servers run. After an interruption, run it again."`
	Status keysStatus `cmd:"" help:"List the keys, and how much is encrypted with each."`
}

// keysNew needs no database.
type keysNew struct {
	settings
	Last bool `help:"Add the key at the end: it only decrypts until you move its line to the top. For servers that do not share one file: give the file to all of them first, then move the line."`
}

func (k keysNew) Run(out outputs) error {
	if k.KeysInline != "" {
		return usageError{errors.New("KLUIS_KEYS_INLINE is set: add the key there, last until every server has it, and then first; or use a file")}
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
		fmt.Fprintf(out.stdout, "%s: made, with the key %s\nkeep a copy of it elsewhere: without it nothing that is encrypted can be read\n", path, ids[0])
	case k.Last:
		fmt.Fprintf(out.stdout, "%s: the last key is %s; %s still encrypts\n", path, ids[len(ids)-1], ids[0])
	default:
		fmt.Fprintf(out.stdout, "%s: the first key is %s; %s only decrypts\nkeep a copy of it elsewhere, then run `kluis keys rotate`\n",
			path, ids[0], strings.Join(ids[1:], ", "))
	}
	return nil
}

type keysRotate struct{ settings }

// codeLife is how long the code in a mail is valid whose MAC the keyring itself makes: the code of a sign-up, or for a new password.
const codeLife = 15 * time.Minute

func (k keysRotate) Run(ctx context.Context, out outputs) error {
	return k.withoutMoves(ctx, out, func(ctx context.Context) error { return k.rotate(ctx, out) })
}

// withoutMoves runs do while no workspace moves: see tenancy.LockMove. The home has the lock.
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
		fmt.Fprintf(out.stdout, "encrypting everything with the key %s\n", r.Keys.IDs()[0])
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
			fmt.Fprintf(out.stdout, "remove it after %s: codes in mails from before the new key are valid until then\n", good.Format(time.TimeOnly))
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

// unopened makes an error of the values that do not open. It names their places, and shows none of them.
func unopened(c vault.Census) error {
	if len(c.Unopened) == 0 {
		return nil
	}
	const most = 20
	shown := c.Unopened[:min(len(c.Unopened), most)]
	return fmt.Errorf("%d encrypted values do not open, because they are damaged, were moved, or need a key that is not here:\n  %s", len(c.Unopened), strings.Join(shown, "\n  "))
}

// withRotation calls do with a rotation of the keys in each cell.
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

// rotation makes a rotation of the keys of all workspaces in the database.
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

// followKeys reads the changes of the key file until ctx ends. A key that is removed while something is sealed with it stays in use, and the log says so at
// once, because the next start would fail.
func (o *bases) followKeys(ctx context.Context, ring *keyring.Keyring) {
	ring.Follow(ctx, func(err error) {
		if err != nil {
			o.log.ErrorContext(ctx, "the key file has changed and is not valid: the former keys stay in use", "keys", ring, "error", err.Error())
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

// checkKeys refuses keys that do not open the data of the database: those of another installation, or new ones that were made because the right file was
// missing.
func (b *base) checkKeys(ctx context.Context, ring *keyring.Keyring) error {
	oldest, err := b.Tenancy.List(ctx, 1)
	if err != nil || len(oldest) == 0 {
		return err
	}
	return vault.New(b.DB, ring).Check(ctx, oldest[0].Workspace())
}

// rotationProgress reports the progress of a rotation on stderr, about once a second, and at the end of each pass.
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
