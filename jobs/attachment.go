package jobs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/pg"
)

const (
	sweepEvery = time.Hour
	sweepAge   = 24 * time.Hour // of what may still become an attachment: far longer than an upload takes (http/upload.go)
	sweepPage  = 500            // blobs that are looked up at once
)

// sweep takes away what no attachment needs, until ctx ends. Several processes may be at it: what is gone is gone.
func (j *Jobs) sweep(ctx context.Context) error {
	for {
		select {
		case <-time.After(sweepEvery/2 + rand.N(sweepEvery)): //nolint:gosec // keeps processes apart, guards nothing
		case <-ctx.Done():
			return nil
		}
		swept, err := j.SweepBlobs(ctx, time.Now().Add(-sweepAge))
		if err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "what no attachment needs could not be swept", "error", err.Error())
		}
		if swept > 0 {
			j.Log.InfoContext(ctx, "swept what no attachment needs", "blobs", swept)
		}
	}
}

// SweepBlobs takes away what no attachment needs: uploads that were begun before a moment and never finished, blobs from before it that no event
// knows, and at once those of attachments that were deleted. Blobs of workspaces that the directory does not have are left alone. A workspace that
// fails keeps no other from being swept; the error is that of the first.
func (j *Jobs) SweepBlobs(ctx context.Context, before time.Time) (swept int, first error) {
	blobs := j.Commands.Blobs
	swept, first = blobs.Sweep(ctx, before)
	workspaces, err := j.Commands.Tenancy.All(ctx)
	if err != nil {
		return swept, err
	}
	for _, entry := range workspaces {
		if entry.Status != "active" {
			continue
		}
		n, err := j.sweepWorkspace(ctx, blobs, entry.Workspace(), before)
		swept += n
		if err != nil && first == nil {
			first = fmt.Errorf("workspace %s: %w", entry.ID, err)
		}
	}
	return swept, first
}

func (j *Jobs) sweepWorkspace(ctx context.Context, blobs blob.Store, w pg.Workspace, before time.Time) (swept int, err error) {
	page := map[uuid.UUID]blob.Item{}
	look := func() error {
		n, err := j.sweepPage(ctx, blobs, w, page, before)
		swept += n
		clear(page)
		return err
	}
	err = blobs.List(ctx, w.ID.String(), func(item blob.Item) error {
		_, name, _ := strings.Cut(item.Key, "/")
		id, err := uuid.Parse(name)
		if err != nil || commands.BlobKey(w, id) != item.Key { // none of ours
			return nil //nolint:nilerr // it is left alone
		}
		if page[id] = item; len(page) < sweepPage {
			return nil
		}
		return look()
	})
	if err != nil || len(page) == 0 {
		return swept, err
	}
	return swept, look()
}

// sweepPage takes away those blobs that no attachment has. A blob that no event knows is left alone until it is old: its event may be about to come.
func (j *Jobs) sweepPage(ctx context.Context, blobs blob.Store, w pg.Workspace, page map[uuid.UUID]blob.Item, before time.Time) (swept int, err error) {
	ids := make([]uuid.UUID, 0, len(page))
	for id := range page {
		ids = append(ids, id)
	}
	found, err := j.Projections.Needs(ctx, w, ids)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if found[id].Kept || !found[id].Gone && !page[id].Modified.Before(before) {
			continue
		}
		if err := blobs.Delete(ctx, page[id].Key); err != nil {
			return swept, err
		}
		swept++
	}
	return swept, nil
}
