package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
)

// outside is where Kluis keeps what is not in the database: bytes of attachments, and signed checkpoints.
type outside struct {
	BlobURL     string `name:"blob-url" env:"KLUIS_BLOB_URL" placeholder:"URL" help:"Where the bytes of attachments, and signed checkpoints of the logs, are: file:///folder, default that of KLUIS_DATA/blobs, or s3://bucket?endpoint=https://...&region=... with the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or wherever else Amazon's programs look for them."`
	Checkpoints string `name:"checkpoints" env:"KLUIS_CHECKPOINTS" placeholder:"URL" help:"A second place, besides KLUIS_BLOB_URL, where signed checkpoints are kept: file:///folder or s3://bucket?..., such as a bucket with object lock, that whoever owns the database cannot rewrite."`
}

// kept is the places of checkpoints: a store of blobs that is open, and the second place.
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

// keptThere is kept for what makes nothing: a folder of data that is not there is none.
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
