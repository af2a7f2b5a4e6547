package commands

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// RequestExport asks for a file with everything that the workspace has. The file is made in the background:
//
//  1. The event is appended. Its reaction puts the export into the queue (jobs/export.go).
//  2. RunExport writes the file to the store of blobs, encrypted. The file is there whole, or not at all.
//  3. The event that tells of the file is appended.
//
// When the process is killed before 3, the export begins again from a later position. While an export is under way, every request gets that export.
func (c *Commands) RequestExport(ctx context.Context, r Request) (Result[domain.Export], error) {
	var before domain.Export
	id := uuid.Must(uuid.NewV7())
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var waiting []domain.Export
		version := 0
		if err := a.read(ctx, projections.ExportNow(&waiting, &version)...); err != nil {
			return plan{}, err
		}
		if err := allow(a.by, domain.CreateExport); err != nil {
			return plan{}, err
		}
		if len(waiting) > 0 {
			before = waiting[0]
			return plan{stream: domain.ExportsStream, version: version, answer: `"` + before.ID.String() + `"`}, nil
		}
		before = domain.Export{}
		return plan{stream: domain.ExportsStream, version: version, events: []domain.Event{domain.ExportRequested{ExportID: id}}}, nil
	})
	if err == nil && done.repeated && done.answer != "" { // the first request got an export that was under way
		err = json.Unmarshal([]byte(done.answer), &before.ID)
	}
	return nounResult(ctx, c, r, projections.Exports, before, done, err)
}

// DownloadExport opens the file of an export, and records the download in the log. The caller closes the file.
func (c *Commands) DownloadExport(ctx context.Context, r Request, id uuid.UUID) (domain.Export, Content, error) {
	now, err := c.now(ctx)
	if err != nil {
		return domain.Export{}, Content{}, err
	}
	x, _, err := projections.Exports.Get(ctx, c.Projections, r.By, id)
	if err == nil {
		_, err = x.Download(r.By.Member, now)
	}
	if err != nil {
		return x, Content{}, err
	}
	content, err := c.openExport(ctx, r.By.Workspace, x)
	if err != nil {
		return x, Content{}, err
	}
	_, err = changeOne(ctx, c, r, projections.Exports, domain.ReadExport, id, stateOnly(func(x domain.Export) ([]domain.Event, error) {
		return x.Download(r.By.Member, now)
	}))
	if err != nil {
		err = errors.Join(err, content.Close())
	}
	return x, content, err
}

func (c *Commands) openExport(ctx context.Context, w pg.Workspace, x domain.Export) (Content, error) {
	content, err := c.openBlob(ctx, w, exportKey(w, x.ID), x.ID, x.Size)
	if errors.Is(err, blob.ErrMissing) {
		c.Log.WarnContext(ctx, "the file of an export is missing", "workspace", w.ID, "export", x.ID)
		return Content{}, domain.Refuse(domain.NotFound, "export_expired", "the file of the export was deleted: ask for another export")
	}
	return content, err
}

// exportKey is the key of an export's file.
func exportKey(w pg.Workspace, id uuid.UUID) string {
	return exportBlob.Key(w.ID, id)
}

// RunExport makes the file of an export. The error is nil when the export has ended, whether it succeeded or failed.
func (c *Commands) RunExport(ctx context.Context, w pg.Workspace, id uuid.UUID) error {
	operator, err := c.Projections.Operator(ctx, w)
	if err != nil {
		return err
	}
	x, _, err := projections.Exports.Get(ctx, c.Projections, *operator, id)
	if refusal, refused := domain.Refusal(err); refused && refusal.Kind == domain.NotFound { // a backup from before the export was put back
		return c.Blobs.Delete(ctx, exportKey(w, id))
	}
	if err != nil || x.Status != domain.ExportWaiting {
		return err
	}
	err = errErasedSince
	for errors.Is(err, errErasedSince) {
		err = c.makeExport(ctx, w, x)
	}
	return err
}

// errErasedSince says that somebody was erased after the moment of the log that an export is of: its file may say what that person was called.
var errErasedSince = errors.New("somebody was erased since the export was begun")

// makeExport writes an export and ends it:
//
//  1. The file is written, of a moment of the log. Names that were opened before an erasure may be in it.
//  2. The end is appended, unless somebody was erased after that moment. It depends on the roster, which every erasure moves.
//  3. Whoever is erased later takes the file away with dropExports.
func (c *Commands) makeExport(ctx context.Context, w pg.Workspace, x domain.Export) error {
	end, err := c.writeExport(ctx, w, x)
	if errors.Is(err, errExportEnded) {
		return nil
	}
	if err != nil {
		if ctx.Err() != nil || temporary(err) {
			return err // the queue tries again when the outage is over
		}
		c.Log.WarnContext(ctx, "an export failed", "workspace", w.ID, "export", x.ID, "error", err.Error())
		end = domain.ExportBroken{ExportID: x.ID, Reason: reasonOf(err)}
	}
	return c.endExport(ctx, w, x.ID, func(a *attempt, x domain.Export) ([]domain.Event, error) {
		if finished, is := end.(domain.ExportFinished); is {
			erased := false
			if err := a.read(ctx, projections.ErasedSince(&erased, finished.UpTo)); err != nil {
				return nil, err
			}
			if erased {
				return nil, errErasedSince
			}
		}
		return x.Finish(end), nil
	})
}

// errExportEnded says that another process has made the export, because the lease of this process ran out.
var errExportEnded = errors.New("the export has ended meanwhile")

// stillWaits checks that no other process has made the export, just before the file of this process is stored in place of any other.
func (e *exporting) stillWaits(ctx context.Context) error {
	operator, err := e.c.Projections.Operator(ctx, e.w)
	if err != nil {
		return err
	}
	x, _, err := projections.Exports.Get(ctx, e.c.Projections, *operator, e.id)
	if err == nil && x.Status != domain.ExportWaiting {
		err = errExportEnded
	}
	return err
}

// ExpireExports deletes the files of a workspace's exports that have expired, and ends these exports.
func (c *Commands) ExpireExports(ctx context.Context, w pg.Workspace) error {
	ids, err := c.Projections.ExpiredExports(ctx, w)
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := c.Blobs.Delete(ctx, exportKey(w, id))
		if err == nil {
			var now time.Time
			if now, err = c.now(ctx); err == nil {
				err = c.endExport(ctx, w, id, func(_ *attempt, x domain.Export) ([]domain.Event, error) { return x.Expire(now), nil })
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// endExport appends a decision on an export, by Kluis itself.
func (c *Commands) endExport(ctx context.Context, w pg.Workspace, id uuid.UUID, decide func(*attempt, domain.Export) ([]domain.Event, error)) error {
	r, err := c.operator(ctx, w)
	if err != nil {
		return err
	}
	_, err = changeOne(ctx, c, r, projections.Exports, domain.CreateExport, id, func(a *attempt, x domain.Export) (decision, error) {
		events, err := decide(a, x)
		return decision{events: events}, err
	})
	return err
}
