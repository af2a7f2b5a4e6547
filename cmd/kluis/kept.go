package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
)

// outside has the places outside the database: those of files, and of signed checkpoints.
type outside struct {
	BlobURL     string `name:"blob-url" env:"KLUIS_BLOB_URL" placeholder:"URL" help:"Where files and signed checkpoints of the logs are kept: file:///folder (default: KLUIS_DATA/blobs), or s3://bucket?endpoint=https://...&region=... with the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in any other place where Amazon's programs find them."`
	Checkpoints string `name:"checkpoints" env:"KLUIS_CHECKPOINTS" placeholder:"URL" help:"A second place for signed checkpoints, besides KLUIS_BLOB_URL, which the owner of the database cannot rewrite, such as a bucket with object lock: file:///folder or s3://bucket?..."`
}

// kept gives the places of checkpoints: an open store of blobs, and the second place.
func (o outside) kept(ctx context.Context, first ...blob.Store) (*checkpoint.Kept, error) {
	kept := &checkpoint.Kept{Stores: first}
	if o.Checkpoints == "" {
		return kept, nil
	}
	second, err := blob.Open(ctx, o.Checkpoints)
	if err != nil {
		return nil, usageError{fmt.Errorf("KLUIS_CHECKPOINTS: %w", err)}
	}
	kept.Stores = append(kept.Stores, second)
	return kept, nil
}

// keptThere is kept for a command that must not make folders: a folder of blobs that does not exist is left out.
func (o outside) keptThere(ctx context.Context, data string) (*checkpoint.Kept, error) {
	if _, err := os.Stat(filepath.Join(data, "blobs")); err != nil && o.BlobURL == "" {
		return o.kept(ctx)
	}
	url, err := o.blobURL(data)
	if err != nil {
		return nil, err
	}
	first, err := blob.Open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("KLUIS_BLOB_URL: %w", err)
	}
	return o.kept(ctx, first)
}
