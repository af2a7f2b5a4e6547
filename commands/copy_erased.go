package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/checkpoint"
)

// ledgers has the regions whose ledger of erasures may have an entry of a workspace, by the id of the workspace. A restore of a database takes nothing
// from a ledger. So the ledgers are read before the operator is told to bring a workspace back.
type ledgers struct {
	entries map[uuid.UUID][]End
	unread  error // why some ledgers could not be read; nil when all were
}

// ledgers lists the ledgers of all regions. The caller reads the directories afterwards: unless a backup was put back, these know every erasure that
// is in a ledger.
func (i Installation) ledgers(ctx context.Context, only uuid.UUID) ledgers {
	l := ledgers{entries: map[uuid.UUID][]End{}}
	if only != uuid.Nil {
		l.entries[only] = i.Regions
		return l
	}
	for _, end := range i.Regions {
		ledger, err := end.Kept.Ledger(ctx)
		if err != nil {
			l.unread = errors.Join(l.unread, fmt.Errorf("region %s: %w", end.Region, err))
		}
		for id := range ledger.Workspaces {
			l.entries[id] = append(l.entries[id], end)
		}
	}
	return l
}

// erasedIn gives the region whose ledger says that a workspace was erased; empty when none does. A doubt says why it may have been erased nevertheless.
func (i Installation) erasedIn(ctx context.Context, id uuid.UUID, l ledgers) (region string, doubt error) {
	doubt = l.unread
	for _, end := range l.entries[id] {
		signed, err := end.Kept.Erasure(ctx, id, uuid.Nil)
		if err == nil && signed == nil {
			continue
		}
		if err == nil {
			err = openErasure(signed, i.Keys, id, uuid.Nil)
		}
		if err == nil {
			return end.Region, nil
		}
		doubt = errors.Join(doubt, fmt.Errorf("the ledger of erasures of region %s: %w", end.Region, err))
	}
	return "", doubt
}

// openErasure checks that an entry of the ledger is about a workspace, or about a member of it, and that one of our keys has signed it.
func openErasure(signed []byte, keys checkpoint.Keys, workspace, member uuid.UUID) error {
	entry, err := checkpoint.OpenErasure(signed, keys)
	if err == nil && (entry.Workspace != workspace || entry.Member != member) {
		err = errors.New("the entry is about something else")
	}
	return err
}

// heed looks for an erasure in the ledgers when no directory says that the workspace was erased. A workspace that is being erased now needs nothing.
func (m *Misplaced) heed(ctx context.Context, i Installation, l ledgers) {
	if m.ErasedIn != "" || slices.ContainsFunc(m.Copies, func(c Copy) bool { return c.Entry.Status == "erasing" }) {
		return
	}
	m.ErasedIn, m.Doubt = i.erasedIn(ctx, m.ID, l)
	m.unlisted = m.ErasedIn != ""
}

// erasedAgain gives the region whose copy stays, because the ledger has it erased as soon as anybody touches it; empty: no copy stays, because the
// directory of the region where the workspace was erased still says so.
func (m Misplaced) erasedAgain() string {
	if slices.ContainsFunc(m.Copies, func(c Copy) bool { return c.Region == m.ErasedIn }) {
		return m.ErasedIn
	}
	if m.unlisted {
		return m.Copies[0].Region
	}
	return ""
}
