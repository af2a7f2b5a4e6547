package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// ErasureNotice is the time between the confirmation and the erasure of a workspace, in which the mails to the admins are sent.
const ErasureNotice = 5 * time.Minute

// The events before the erasure of a workspace. The erasure itself has no event, because the log is erased with the rest.
type (
	// WorkspaceErasureRequested begins the grace, in which any admin can cancel the erasure.
	WorkspaceErasureRequested struct {
		ErasesAt time.Time `json:"erases_at"`
	}
	// WorkspaceErasureConfirmed is by a second admin. It shortens the grace to ErasureNotice.
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

// Erase requests the erasure of the workspace after the grace. A second admin's call confirms the request and shortens the grace to
// ErasureNotice. The second admin must have been unchanged since before the request, because a stolen admin's account could make another
// admin. by is nil for the operator of Kluis.
func (w Workspace) Erase(confirm string, by *Member, now time.Time, grace time.Duration) ([]Event, error) {
	if confirm != w.Slug {
		return nil, InvalidField("/confirm", "must be the short name of the workspace that is to be erased")
	}
	if w.LegalHold {
		return nil, Refuse(Conflict, "legal_hold", "the workspace is under a legal hold and cannot be erased: ask the operator of Kluis to lift the hold")
	}
	now = now.UTC().Truncate(time.Microsecond)
	switch {
	case w.ErasesAt == nil:
		return []Event{WorkspaceErasureRequested{ErasesAt: now.Add(grace)}}, nil
	case w.ErasureConfirmed, by == nil && w.ErasureRequestedBy == nil, by != nil && w.ErasureRequestedBy != nil && by.ID == *w.ErasureRequestedBy:
		return nil, nil // the state is as requested already
	case by != nil && by.UpdatedAt.After(*w.ErasureRequestedAt):
		return nil, Refuse(Conflict, "admin_too_new", "only an admin who was an admin before the erasure was requested can confirm it: the erasure begins by itself at %s", w.ErasesAt.Format(time.RFC3339))
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
