package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
)

// keptIn is where signed checkpoints of the logs lie outside the database.
type keptIn struct {
	Checkpoints string `name:"checkpoints" env:"KLUIS_CHECKPOINTS" placeholder:"URL" help:"A second place, besides KLUIS_DATA/blobs, where signed checkpoints are kept: file:///folder or s3://bucket?..., such as a bucket with object lock, that whoever owns the database cannot rewrite."`
}

// openKept opens the places. With only, it makes none that is not there.
func (k keptIn) openKept(ctx context.Context, data string, only bool) (*checkpoint.Kept, error) {
	kept := &checkpoint.Kept{}
	folder, err := filepath.Abs(filepath.Join(data, "blobs"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(folder); err == nil || !only {
		store, err := blob.Open(ctx, (&url.URL{Scheme: "file", Path: folder}).String())
		if err != nil {
			return nil, err
		}
		kept.Stores = append(kept.Stores, store)
	}
	if k.Checkpoints == "" {
		return kept, nil
	}
	store, err := blob.Open(ctx, k.Checkpoints)
	if err != nil {
		return nil, usageError{fmt.Errorf("KLUIS_CHECKPOINTS: %w", err)}
	}
	kept.Stores = append(kept.Stores, store)
	return kept, nil
}
