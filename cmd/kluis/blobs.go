package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"github.com/kluis-eu/kluis/internal/blob"
)

// blobURL gives the checked URL of the store of blobs. The error does not show the URL, because it may have a password.
func (o outside) blobURL(data string) (string, error) {
	if o.BlobURL == "" {
		folder, err := filepath.Abs(filepath.Join(data, "blobs"))
		return (&url.URL{Scheme: "file", Path: folder}).String(), err
	}
	if err := blob.Check(context.Background(), o.BlobURL); err != nil {
		return "", usageError{fmt.Errorf("KLUIS_BLOB_URL: %w", err)}
	}
	return o.BlobURL, nil
}

// blobStore opens the store of blobs, without a check that it can be reached.
func (o outside) blobStore(ctx context.Context, data string) (blob.Store, error) {
	address, err := o.blobURL(data)
	if err != nil {
		return nil, err
	}
	return blob.Open(ctx, address)
}

// openBlobs opens the store of blobs for a server. The server starts even when the store cannot be reached; then only attachments are unavailable.
func (c cell) openBlobs(ctx context.Context, log *slog.Logger) (blob.Store, error) {
	store, err := c.blobStore(ctx, c.Data)
	if err != nil {
		return nil, fmt.Errorf("KLUIS_BLOB_URL: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		log.ErrorContext(ctx, "KLUIS_BLOB_URL cannot be reached: only attachments are unavailable until it can be", "error", err.Error())
	}
	return store, nil
}
