package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// replay is `kluis replay`.
type replay struct {
	settings
	From    int64    `help:"The first position; default: the first in the log."`
	Until   string   `placeholder:"MOMENT" help:"The last position, or an instant such as 2026-03-01T12:00:00Z; default: the end of the log."`
	State   bool     `help:"Instead of printing records, rebuild the read models of --until in a schema of their own, print how to query them with psql, and drop them when the command ends, with Enter or a signal."`
	Slug    string   `arg:"" help:"The workspace."`
	Command []string `arg:"" optional:"" help:"With --state: a program to run after --, such as psql, with PGHOST, PGUSER and so on set. The state is dropped when the program ends."`
}

func (r replay) Run(ctx context.Context, out outputs) error {
	until, err := r.until()
	if err != nil {
		return usageError{err}
	}
	b, entry, err := r.openWorkspace(ctx, out, r.Slug)
	if err != nil {
		return err
	}
	defer b.close()
	moment := projections.Moment{Position: math.MaxInt64}
	if until != nil {
		if moment, err = until(ctx, b.Projections, entry.Workspace()); err != nil {
			return fmt.Errorf("--until %s: %w", r.Until, err)
		}
	}
	if r.State {
		return r.state(ctx, b, out, entry, moment)
	}
	store := b.Store
	if entry.Status != "active" { // no login may enter the workspace
		store = eventstore.New(b.DB.AsOwner(), b.Bell)
	}
	return r.print(ctx, store, out, entry.Workspace(), moment.Position)
}

// moments finds a moment in the log of a workspace.
type moments func(context.Context, *projections.Projections, pg.Workspace) (projections.Moment, error)

// until checks --until, --from and --state together. It gives nil for the end of the log.
func (r replay) until() (moments, error) {
	position, notPosition := strconv.ParseInt(r.Until, 10, 64)
	at, notInstant := time.Parse(time.RFC3339Nano, r.Until)
	switch {
	case !r.State && r.Command != nil:
		return nil, errors.New("a program runs only with --state")
	case r.State && (r.Until == "" || r.From != 0):
		return nil, errors.New("--state needs --until, which says the moment, and does not go with --from")
	case r.Until == "":
		return nil, nil
	case notPosition == nil && position > 0 && position >= r.From:
		return func(ctx context.Context, p *projections.Projections, w pg.Workspace) (projections.Moment, error) {
			return p.MomentAt(ctx, w, position)
		}, nil
	case notInstant == nil:
		return func(ctx context.Context, p *projections.Projections, w pg.Workspace) (projections.Moment, error) {
			return p.MomentOf(ctx, w, at)
		}, nil
	}
	return nil, fmt.Errorf("--until %s: expected a position, not before --from, or an instant such as 2026-03-01T12:00:00Z", r.Until)
}

// errPrinted ends a replay before the log does.
var errPrinted = errors.New("all records are printed")

// print prints the records up to a position.
func (r replay) print(ctx context.Context, store *eventstore.Store, out outputs, w pg.Workspace, upTo int64) error {
	lines := bufio.NewWriterSize(out.stdout, 1<<16)
	var line []byte
	_, err := store.Each(ctx, w, r.From, func(record eventstore.Record) error {
		if record.Position > upTo {
			return errPrinted
		}
		line = append(record.AppendLine(line[:0]), '\n')
		_, err := lines.Write(line)
		return err
	})
	if err != nil && !errors.Is(err, errPrinted) {
		return err
	}
	return lines.Flush()
}
