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

// blobURL checks where the bytes of attachments are to be. The error shows no URL, which may hold a password.
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

// blobStore opens the store for a command that is over soon.
func (o outside) blobStore(ctx context.Context, data string) (blob.Store, error) {
	address, err := o.blobURL(data)
	if err != nil {
		return nil, err
	}
	return blob.Open(ctx, address)
}

// openBlobs opens the store of blobs. One that cannot be reached keeps nobody from serving: attachments alone are not available until it can be.
func (c cell) openBlobs(ctx context.Context, log *slog.Logger) (blob.Store, error) {
	store, err := c.blobStore(ctx, c.Data)
	if err != nil {
		return nil, fmt.Errorf("KLUIS_BLOB_URL: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		log.ErrorContext(ctx, "KLUIS_BLOB_URL cannot be reached: attachments are not available until it can be, and all else is", "error", err.Error())
	}
	return store, nil
}
