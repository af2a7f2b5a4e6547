package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
)

// witnessed has the settings of the witnesses that cosign checkpoints.
type witnessed struct {
	Witnesses          []string `env:"KLUIS_WITNESSES" placeholder:"URL KEY,..." help:"Witnesses that cosign checkpoints of the logs (C2SP tlog-witness), each a URL, a space, and the verifier key of its cosignatures: https://witness.example.org witness.example.org+1a2b3c4d+BAAA... They get the name, the size and the root hash of each log. Empty: there are no witnesses."`
	CosignaturesWanted int      `name:"cosignatures-wanted" env:"KLUIS_COSIGNATURES_WANTED" placeholder:"N" help:"How many of KLUIS_WITNESSES must cosign a checkpoint; default: all. A checkpoint with fewer is reported, and delays nothing."`
}

func (w witnessed) check() (all []*checkpoint.Witness, err error) {
	for _, text := range w.Witnesses {
		if text == "" { // the variable is set to nothing
			continue
		}
		one, err := checkpoint.ParseWitness(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("KLUIS_WITNESSES: %q: %w", text, err)}
		}
		if slices.ContainsFunc(all, func(other *checkpoint.Witness) bool { return other.ID() == one.ID() }) {
			return nil, usageError{fmt.Errorf("KLUIS_WITNESSES: %s is there twice", one.Name())}
		}
		all = append(all, one)
	}
	if w.CosignaturesWanted < 0 || w.CosignaturesWanted > len(all) {
		return nil, usageError{fmt.Errorf("KLUIS_COSIGNATURES_WANTED: %d is not 1 to %d, the number of witnesses", w.CosignaturesWanted, len(all))}
	}
	return all, nil
}

// logList is `kluis log-list`.
type logList struct{ serve }

// Run prints the logs of all workspaces in the format for witnesses: see https://github.com/transparency-dev/witness-network.
func (l logList) Run(ctx context.Context, out outputs) error {
	set, err := l.serve.check()
	if err != nil {
		return err
	}
	keys, err := keyring.Load(l.keysFile(), l.KeysInline)
	if err != nil {
		return err
	}
	fmt.Fprintln(out.stdout, "logs/v0")
	return l.each(ctx, l.outside, func(c cell) error {
		b, err := c.openMigrated(ctx, out.stderr)
		if err != nil {
			return err
		}
		defer b.close()
		entries, err := b.Tenancy.List(ctx, 0)
		if err != nil {
			return err
		}
		for _, e := range entries {
			epoch, err := b.Projections.Epoch(ctx, e.Workspace())
			if err != nil {
				return fmt.Errorf("%s: %w", e.Slug, err)
			}
			key, err := keys.PublicKeys()[0].VerifierKey(checkpoint.NewOrigin(set.publicURL, e.ID, epoch).String())
			if err != nil {
				return fmt.Errorf("%s: %w", e.Slug, err)
			}
			fmt.Fprintf(out.stdout, "\nvkey %s\nqpd 144\n", key)
		}
		return nil
	})
}

// wanted is how many of the given number of witnesses must cosign a checkpoint.
func (w witnessed) wanted(of int) int {
	if w.CosignaturesWanted > 0 {
		return w.CosignaturesWanted
	}
	return of
}

// witnessesKnow checks that the witnesses know the logs, and know no more records than there are. It changes nothing at the witnesses.
func (p patient) witnessesKnow(ctx context.Context) finding {
	all, err := p.witnessed.check()
	if err != nil || len(all) == 0 {
		return fine("none is set, so nobody else knows the checkpoints")
	}
	kept, err := p.keptThere(ctx, p.Data)
	if err != nil {
		return broken(err, "")
	}
	entries, err := p.b.Tenancy.List(ctx, 0)
	if err != nil {
		return broken(err, "")
	}
	few, why := 0, ""
	for _, e := range entries {
		signed, err := kept.Last(ctx, e.ID)
		if err != nil {
			return broken(err, "")
		}
		know := len(all)
		if signed != nil {
			know, err = p.know(ctx, e.Workspace(), signed, all)
		}
		switch {
		case errors.As(err, new(*checkpoint.WentBackError)):
			return broken(err, "kluis verify says what is wrong with the log; after a backup was put back, kluis restored begins a new epoch")
		case errors.As(err, new(*checkpoint.RefusedError)):
			why = ": " + err.Error()
		case err != nil:
			return broken(err, "checkpoints get no cosignature until it answers")
		}
		if know < p.wanted(len(all)) {
			few++
		}
	}
	if few > 0 {
		return finding{note, fmt.Sprintf("fewer than %d cosign checkpoints of %d of %d workspaces%s", p.wanted(len(all)), few, len(entries), why), "give each witness the output of kluis log-list"}
	}
	return fine(fmt.Sprintf("%d know the logs of %d workspaces, and no more records than there are", len(all), len(entries)))
}

// know counts the witnesses that know the log of a workspace. The log is read after the answer of each witness, so it has all records that the witness can
// know.
func (p patient) know(ctx context.Context, w pg.Workspace, signed []byte, all []*checkpoint.Witness) (know int, refused error) {
	at, err := checkpoint.Parse(signed)
	if err != nil {
		return 0, err
	}
	if at.Size < 2 {
		return len(all), nil
	}
	for _, by := range all {
		size, err := by.Known(ctx, signed)
		if errors.As(err, new(*checkpoint.RefusedError)) {
			refused = err
			continue
		}
		if err != nil {
			return 0, err
		}
		var head eventstore.Head
		if err := p.b.DB.Read(ctx, w, eventstore.LookHead(&head)); err != nil {
			return 0, err
		}
		if head.Epoch == at.Origin.Epoch && size > head.Position {
			return 0, &checkpoint.WentBackError{Witness: by.Name(), Origin: at.Origin, Known: size, Size: head.Position}
		}
		if size > 0 {
			know++
		}
	}
	return know, refused
}
