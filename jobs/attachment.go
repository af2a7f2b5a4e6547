package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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

// sweep deletes blobs that nothing needs, until ctx ends. Several processes may do so at once.
func (j *Jobs) sweep(ctx context.Context) error {
	for {
		select {
		case <-time.After(sweepEvery/2 + rand.N(sweepEvery)): //nolint:gosec // keeps processes apart, guards nothing
		case <-ctx.Done():
			return nil
		}
		swept, err := j.sweepOld(ctx)
		if err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "blobs that nothing needs could not be swept", "error", err.Error())
		}
		if swept > 0 {
			j.Log.InfoContext(ctx, "swept blobs that nothing needs", "blobs", swept)
		}
	}
}

// sweepOld sweeps what is old by the clock of the database and by that of this machine. By one clock that is ahead, an upload under way would look
// old.
func (j *Jobs) sweepOld(ctx context.Context) (swept int, err error) {
	now, err := j.DB.Now(ctx)
	if err != nil {
		return 0, err
	}
	if here := time.Now(); here.Before(now) {
		now = here
	}
	return j.SweepBlobs(ctx, now.Add(-sweepAge))
}

// SweepBlobs deletes what nothing needs, and returns how much that was:
//
//   - uploads that were begun before a moment and never finished,
//   - blobs from before that moment that no event names, and the files of imports and exports that have ended,
//   - and, whatever their age, the blobs of deleted attachments and of expired exports.
//
// It leaves the blobs of workspaces alone that the directory does not have. When one workspace fails, the others are swept nevertheless,
// and the error is that of the first.
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
	erased, err := j.Commands.Tenancy.Erased(ctx, before.Add(-sweepAge)) // an upload may have ended after the erasure
	first = errors.Join(first, err)
	for _, w := range erased {
		n, err := commands.PurgeBlobs(ctx, blobs, w)
		swept += n
		first = errors.Join(first, err)
	}
	return swept, first
}

func (j *Jobs) sweepWorkspace(ctx context.Context, blobs blob.Store, w pg.Workspace, before time.Time) (swept int, err error) {
	if err := j.Commands.ExpireExports(ctx, w); err != nil {
		return 0, err
	}
	page := map[uuid.UUID]sweepable{}
	sweep := func() error {
		n, err := j.sweepPage(ctx, blobs, w, page, before)
		swept += n
		clear(page)
		return err
	}
	err = blobs.List(ctx, w.ID.String(), func(item blob.Item) error {
		kind, id, known := commands.ParseBlobKey(w, item.Key)
		if !known { // not one of this program's: it is left alone
			return nil
		}
		if page[id] = (sweepable{item, kind}); len(page) < sweepPage {
			return nil
		}
		return sweep()
	})
	if err != nil || len(page) == 0 {
		return swept, err
	}
	return swept, sweep()
}

// sweepable is a blob with its kind.
type sweepable struct {
	blob.Item
	kind *blob.Kind
}

// sweepPage deletes those blobs of a page that nothing needs. A blob that no event names is left alone until it is old, because its event
// may be about to come.
func (j *Jobs) sweepPage(ctx context.Context, blobs blob.Store, w pg.Workspace, page map[uuid.UUID]sweepable, before time.Time) (swept int, err error) {
	var attachments, others []uuid.UUID
	for id, item := range page {
		if item.kind == commands.AttachmentBlob {
			attachments = append(attachments, id)
		} else {
			others = append(others, id)
		}
	}
	needs, err := j.Projections.Needs(ctx, w, attachments)
	if err != nil {
		return 0, err
	}
	waiting, err := j.Projections.Waiting(ctx, w, others)
	if err != nil {
		return 0, err
	}
	for id, item := range page {
		kept := needs[id].Kept || slices.Contains(waiting, id)
		if kept || !needs[id].Gone && !item.Modified.Before(before) {
			continue
		}
		if err := blobs.Delete(ctx, item.Key); err != nil {
			return swept, err
		}
		swept++
	}
	return swept, nil
}
