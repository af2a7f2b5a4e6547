package main

import (
	"bufio"
	"context"

	"github.com/kluis-eu/kluis/eventstore"
)

// replay is `kluis replay`.
type replay struct {
	settings
	Slug string `arg:"" help:"The workspace."`
	From int64  `help:"The first position; left out, the first that there is."`
}

func (r replay) Run(ctx context.Context, out outputs) error {
	b, entry, err := r.settings.openWorkspace(ctx, out, r.Slug)
	if err != nil {
		return err
	}
	defer b.close()
	lines := bufio.NewWriterSize(out.stdout, 1<<16)
	var line []byte
	_, err = b.Store.Each(ctx, entry.Workspace(), r.From, func(record eventstore.Record) error {
		line = append(record.AppendLine(line[:0]), '\n')
		_, err := lines.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	return lines.Flush()
}
