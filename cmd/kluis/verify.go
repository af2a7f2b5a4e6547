package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/projections"
)

// verify is `kluis verify`.
type verify struct {
	settings
	outside
	Slug        string   `arg:"" optional:"" help:"The workspace; all of them when left out."`
	File        string   `placeholder:"REPLAY" help:"Check the lines of a replay (- is standard input), without a database."`
	Certificate string   `placeholder:"FILE" help:"Check the certificate of an erasure against verifier keys that you kept (--key), without a database."`
	Checkpoint  []string `placeholder:"FILE" sep:"none" help:"A checkpoint that the log must continue, besides those that Kluis keeps outside the database. May be repeated."`
	VerifierKey []string `name:"key" placeholder:"FILE" sep:"none" help:"Verifier keys that you kept, as GET /api/audit/verifier-keys shows them, besides those of the key file. May be repeated."`
	Epoch       int      `default:"1" help:"The last epoch of the log that you know to have begun with a restore. Records after that restore, which checkpoints of earlier epochs have, may be gone."`
	LogOnly     bool     `help:"Do not compare the read models with the log."`
}

func (v verify) Run(ctx context.Context, out outputs) error {
	if v.File != "" && v.Slug != "" {
		return usageError{errors.New("name a workspace, or a file with --file, not both")}
	}
	if v.Certificate != "" {
		if v.File != "" || v.Slug != "" {
			return usageError{errors.New("check a certificate by itself: without a workspace, and without --file")}
		}
		return v.certificate(out)
	}
	if v.File != "" {
		return v.check(ctx, out)
	}
	return v.eachOr(ctx, out, v.outside, v.Slug, func(c cell) error {
		v.settings, v.outside = c.settings, c.outside
		return v.check(ctx, out)
	})
}

// check verifies a file, or the workspaces of a cell.
func (v verify) check(ctx context.Context, out outputs) error {
	places, err := v.places(ctx)
	if err != nil {
		return err
	}
	known, err := v.knownKeys(ctx, places)
	if err != nil {
		return err
	}
	given, err := v.checkpointFiles(known)
	if err != nil {
		return err
	}
	if v.File != "" {
		return v.file(out, given)
	}
	b, err := v.openMigrated(ctx, out.stderr)
	if err != nil {
		return err
	}
	defer b.close()
	entries, err := b.workspaces(ctx, v.Slug)
	if err != nil {
		return err
	}
	found := 0
	for _, e := range entries {
		n, err := v.workspace(ctx, b, out, e, places, known, given)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Slug, err)
		}
		found += n
	}
	return failed(found)
}

// certificate checks that one of the verifier keys of --key signed the certificate of an erasure, and prints what was erased.
func (v verify) certificate(out outputs) error {
	known, err := trusted(v.VerifierKey)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return usageError{errors.New("a certificate is checked with verifier keys that you kept: name their file with --key")}
	}
	signed, err := os.ReadFile(v.Certificate)
	if err != nil {
		return err
	}
	erased, err := checkpoint.OpenErasure(signed, known)
	if err != nil {
		return fmt.Errorf("%s: %w", v.Certificate, err)
	}
	_, err = fmt.Fprintf(out.stdout, "signed by a key that you kept: workspace %s at %s was erased, as decided on %s\n", erased.Workspace, erased.Site, erased.At.Format(time.RFC3339))
	return err
}

func failed(found int) error {
	if found == 0 {
		return nil
	}
	return fmt.Errorf("findings: %d", found)
}

// workspace verifies one workspace, and gives the number of findings.
func (v verify) workspace(ctx context.Context, b *base, out outputs, e tenancy.Entry, places *checkpoint.Kept, known keyring.PublicKeys, given []eventstore.Mark) (int, error) {
	w := e.Workspace()
	kept, findings, err := keptOf(ctx, places, w, known)
	if err != nil {
		return 0, err
	}
	for _, mark := range given {
		if mark.Origin.Workspace == w.ID {
			kept = append(kept, mark)
		} else if v.Slug != "" {
			findings = append(findings, foreign(mark))
		}
	}
	verdict, err := b.Projections.Verify(ctx, w, projections.Expected(w, kept, v.Epoch), !v.LogOnly, progress(out.stderr, e.Slug))
	if err != nil {
		return 0, err
	}
	verdict.Findings = append(findings, verdict.Findings...)
	return report(out.stdout, e.Slug, verdict), nil
}

func foreign(mark eventstore.Mark) eventstore.Finding {
	return eventstore.Finding{Position: 1, Kind: eventstore.Foreign, Detail: fmt.Sprintf("%s is a checkpoint of workspace %s", mark.Name, mark.Origin.Workspace)}
}

// file verifies the lines of a replay.
func (v verify) file(out outputs, given []eventstore.Mark) error {
	in, err := v.replayed()
	if err != nil {
		return err
	}
	defer in.Close()
	var w pg.Workspace
	for _, mark := range given {
		w.ID = mark.Origin.Workspace
	}
	verdict, err := eventstore.VerifyFile(in, projections.Expected(w, given, v.Epoch), nil)
	if err != nil {
		return err
	}
	return failed(report(out.stdout, v.File, verdict))
}

func (v verify) replayed() (io.ReadCloser, error) {
	if v.File == "-" {
		return os.Stdin, nil
	}
	return os.Open(v.File)
}

// report prints a verdict, and gives the number of findings.
func report(out io.Writer, what string, verdict eventstore.Verdict) int {
	for _, f := range verdict.Findings {
		fmt.Fprintf(out, "%s: %s\n", what, visible(f.String(), "")) // a file may come from anybody
	}
	if len(verdict.Findings) > 0 {
		return len(verdict.Findings)
	}
	fmt.Fprintf(out, "%s: %d records", what, verdict.Records)
	if verdict.Pruned > 0 {
		fmt.Fprintf(out, " after %d that were pruned", verdict.Pruned)
	}
	fmt.Fprintf(out, " are whole and in order; root %s, epoch %d; checkpoints that hold: %d\n", verdict.Root, verdict.Epoch, verdict.Marks)
	return 0
}

// knownKeys gives the keys that verify checkpoints: those of --key, those of the key file, and those that were kept.
func (v verify) knownKeys(ctx context.Context, places *checkpoint.Kept) (known keyring.PublicKeys, err error) {
	if known, err = trusted(v.VerifierKey); err != nil || v.File != "" {
		return known, err
	}
	ring, err := keyring.Load(v.keysFile(), v.KeysInline)
	if err == nil {
		known = known.With(ring.PublicKeys())
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	kept, err := places.Keys(ctx)
	return known.With(kept), err
}

// checkpointFiles reads the checkpoints of --checkpoint.
func (v verify) checkpointFiles(known keyring.PublicKeys) (marks []eventstore.Mark, err error) {
	if len(v.Checkpoint) > 0 && len(known) == 0 {
		return nil, usageError{errors.New("name with --key the verifier keys that sign the checkpoints")}
	}
	for _, name := range v.Checkpoint {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		c, err := checkpoint.Open(text, known)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		marks = append(marks, eventstore.Mark{Checkpoint: c, Name: name})
	}
	return marks, nil
}

// places gives the places where Kluis keeps checkpoints; none when a file is verified.
func (v verify) places(ctx context.Context) (*checkpoint.Kept, error) {
	if v.File != "" {
		return &checkpoint.Kept{}, nil
	}
	return v.keptThere(ctx, v.Data)
}

// keptOf gives the checkpoints of a workspace that Kluis keeps outside the database. A checkpoint that no known key has signed is a finding.
func keptOf(ctx context.Context, places *checkpoint.Kept, w pg.Workspace, known keyring.PublicKeys) (marks []eventstore.Mark, findings []eventstore.Finding, err error) {
	all, err := places.All(ctx, w.ID)
	for _, text := range all {
		c, err := checkpoint.Open(text, known)
		switch {
		case err != nil:
			findings = append(findings, eventstore.Finding{Position: c.Size, Kind: eventstore.Forked, Detail: "of a checkpoint that was kept: " + err.Error()})
		case c.Origin.Workspace != w.ID:
			findings = append(findings, foreign(eventstore.Mark{Checkpoint: c, Name: "kept"}))
		default:
			marks = append(marks, eventstore.Mark{Checkpoint: c, Name: "kept"})
		}
	}
	return marks, findings, err
}
