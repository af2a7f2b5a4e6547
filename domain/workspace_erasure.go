package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// ErasureNotice is how long after its confirmation a workspace is erased: the mails that say so go out first.
const ErasureNotice = 5 * time.Minute

// The events of a workspace that somebody wants to be erased. There is none of the erasure itself: the log goes with the rest.
type (
	// WorkspaceErasureRequested begins the time in which any admin can cancel.
	WorkspaceErasureRequested struct {
		ErasesAt time.Time `json:"erases_at"`
	}
	// WorkspaceErasureConfirmed is by a second admin: then it is soon.
	WorkspaceErasureConfirmed struct {
		ErasesAt time.Time `json:"erases_at"`
	}
	WorkspaceErasureCancelled struct{}
)

func (w *Workspace) applyErasure(r Record) {
	switch e := r.Event.(type) {
	case WorkspaceErasureRequested:
		w.ErasesAt, w.ErasureRequestedAt, w.ErasureRequestedBy = &e.ErasesAt, &r.At, nil
		if r.Actor != uuid.Nil {
			w.ErasureRequestedBy = &r.Actor
		}
	case WorkspaceErasureConfirmed:
		w.ErasesAt, w.ErasureConfirmed = &e.ErasesAt, true
	case WorkspaceErasureCancelled:
		w.ErasesAt, w.ErasureRequestedAt, w.ErasureRequestedBy, w.ErasureConfirmed = nil, nil, nil, false
	}
}

// Erase asks for the workspace to be erased when grace is over, or confirms, by a second admin, that it is to be erased soon: an admin who
// has been one since before it was asked for, or else one stolen account would make a second. by is nil for whoever operates Kluis; since is
// when the admin last changed.
func (w Workspace) Erase(confirm string, by *Member, now time.Time, grace time.Duration) ([]Event, error) {
	if confirm != w.Slug {
		return nil, InvalidField("/confirm", "must be the short name of the workspace, which is to be erased")
	}
	if w.LegalHold {
		return nil, Refuse(Conflict, "legal_hold", "the workspace is under a legal hold, so that nothing of it is erased: whoever runs Kluis lifts that")
	}
	now = now.UTC().Truncate(time.Microsecond)
	switch {
	case w.ErasesAt == nil:
		return []Event{WorkspaceErasureRequested{ErasesAt: now.Add(grace)}}, nil
	case w.ErasureConfirmed, by == nil && w.ErasureRequestedBy == nil, by != nil && w.ErasureRequestedBy != nil && by.ID == *w.ErasureRequestedBy:
		return nil, nil // it is so already
	case by != nil && by.UpdatedAt.After(*w.ErasureRequestedAt):
		return nil, Refuse(Conflict, "admin_too_new", "only an admin who has been one since before the erasure was asked for confirms it: it begins by itself at %s", w.ErasesAt.Format(time.RFC3339))
	}
	return []Event{WorkspaceErasureConfirmed{ErasesAt: slices.MinFunc([]time.Time{*w.ErasesAt, now.Add(ErasureNotice)}, time.Time.Compare)}}, nil
}

// Keep cancels the erasure.
func (w Workspace) Keep() []Event {
	if w.ErasesAt == nil {
		return nil
	}
	return []Event{WorkspaceErasureCancelled{}}
}
