package domain

import (
	"time"

	"github.com/google/uuid"
)

// ExportsStream is the one stream of all exports of a workspace. It lets only one export be made at a time.
const ExportsStream = "exports"

// ExportLife is how long the file of an export is kept.
const ExportLife = 24 * time.Hour

// The statuses of an export.
const (
	ExportWaiting = "waiting" // the background has not finished the file
	ExportDone    = "done"    // the file can be downloaded until the export expires
	ExportFailed  = "failed"
	ExportExpired = "expired" // the file is deleted
)

// Export is a file with all data of a workspace, at one position of its log.
type Export struct {
	ID         uuid.UUID  `json:"id"`
	Status     string     `json:"status" doc:"waiting until the file is whole; then done, or failed. expired: the file is gone."`
	Failure    string     `json:"failure" doc:"Why it failed; empty when it did not."`
	UpTo       int64      `json:"up_to" doc:"The position of the log at which the workspace is in the file; 0 before it is known."`
	Size       int64      `json:"size" doc:"Of the file, in bytes; 0 before it is known."`
	Digest     string     `json:"digest" doc:"The SHA-256 of the file, in 64 hexadecimal digits; empty before it is known." example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`
	CreatedBy  uuid.UUID  `json:"created_by"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
	FinishedAt *time.Time `json:"finished_at"`
	ExpiresAt  *time.Time `json:"expires_at" doc:"From then on the file cannot be had."`
	Version    int        `json:"version"` // of the stream of all exports, at this export's last change
	Position   int64      `json:"position"`
}

// The events of the exports.
type (
	ExportRequested struct {
		ExportID uuid.UUID `json:"export_id"`
	}
	ExportFinished struct {
		ExportID uuid.UUID `json:"export_id"`
		UpTo     int64     `json:"up_to"`
		Size     int64     `json:"size"`
		Digest   string    `json:"digest"` // SHA-256 of the file, in hexadecimal digits
	}
	ExportBroken struct {
		ExportID uuid.UUID `json:"export_id"`
		Reason   string    `json:"reason"`
	}
	// ExportDownloaded is committed before the first byte is sent.
	ExportDownloaded struct {
		ExportID uuid.UUID `json:"export_id"`
	}
	ExportEnded struct {
		ExportID uuid.UUID `json:"export_id"`
	}
)

// Export gives the id of the export that the event is about.
func (e ExportRequested) Export() uuid.UUID  { return e.ExportID }
func (e ExportFinished) Export() uuid.UUID   { return e.ExportID }
func (e ExportBroken) Export() uuid.UUID     { return e.ExportID }
func (e ExportDownloaded) Export() uuid.UUID { return e.ExportID }
func (e ExportEnded) Export() uuid.UUID      { return e.ExportID }

func init() {
	register[ExportRequested]("export.requested")
	register[ExportFinished]("export.finished")
	register[ExportBroken]("export.failed")
	register[ExportDownloaded]("export.downloaded")
	register[ExportEnded]("export.expired")
}

// ExportOf gives the id of the export that a record changes.
func ExportOf(r Record) (uuid.UUID, bool) {
	e, ok := r.Event.(interface{ Export() uuid.UUID })
	if !ok {
		return uuid.Nil, false
	}
	return e.Export(), true
}

// Apply folds one event into the state of the export that the event is about.
func (x *Export) Apply(r Record) {
	switch e := r.Event.(type) {
	case ExportRequested:
		*x = Export{ID: e.ExportID, Status: ExportWaiting, CreatedBy: r.Actor, CreatedAt: r.At}
	case ExportFinished:
		end := r.At.Add(ExportLife)
		x.Status, x.UpTo, x.Size, x.Digest, x.FinishedAt, x.ExpiresAt = ExportDone, e.UpTo, e.Size, e.Digest, &r.At, &end
	case ExportBroken:
		x.Status, x.Failure, x.FinishedAt = ExportFailed, e.Reason, &r.At
	case ExportEnded:
		x.Status = ExportExpired
	}
	x.UpdatedAt, x.Version, x.Position = r.At, r.Version, r.Position
}

// Finish ends the making of an export. An export that has ended stays as it is.
func (x Export) Finish(end Event) []Event {
	if x.Status != ExportWaiting {
		return nil
	}
	return []Event{end}
}

// Download gives the file to the member who requested the export, and to no other member.
func (x Export) Download(member uuid.UUID, now time.Time) ([]Event, error) {
	switch {
	case x.CreatedBy != member:
		return nil, Refuse(Forbidden, "export_of_another", "only the member who requested an export may download its file: request an export yourself")
	case x.Status == ExportWaiting:
		return nil, Refuse(Conflict, "export_under_way", "the file is being made: ask again once the export is done")
	case x.Status == ExportFailed:
		return nil, Refuse(Conflict, "export_failed", "the export failed and has no file: request another export")
	case x.Status == ExportExpired || x.ExpiresAt == nil || !now.Before(*x.ExpiresAt):
		return nil, Refuse(NotFound, "export_expired", "the file was kept for %d hours and is deleted: request another export", int(ExportLife.Hours()))
	}
	return []Event{ExportDownloaded{x.ID}}, nil
}

// Expire ends an export whose time is over. Any other export gives no event.
func (x Export) Expire(now time.Time) []Event {
	if x.Status != ExportDone || x.ExpiresAt == nil || now.Before(*x.ExpiresAt) {
		return nil
	}
	return []Event{ExportEnded{x.ID}}
}

// Parts gives the member's parts in the export.
func (x Export) Parts(member uuid.UUID) Parts { return creator(x.CreatedBy, member) }
