package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/checkpoint"
)

// ledgers is in which regions the ledger of erasures may have an entry of a workspace. A backup that was put back, of whichever database, takes nothing
// from a ledger: so the ledgers are asked before somebody is told to bring a workspace back.
type ledgers struct {
	entries map[uuid.UUID][]End
	unread  error // of ledgers that cannot be read
}

// ledgers lists the ledgers of all regions. Read before the directories, they have no erasure that the directories do not know, unless a backup was put
// back.
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

// erasedIn tells which region's ledger says that a workspace was erased; empty: none does. With doubt, it may be that it was all the same.
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

// openErasure checks that an entry of the ledger is of a workspace, or of a member of it, and signed by one of our keys.
func openErasure(signed []byte, keys checkpoint.Keys, workspace, member uuid.UUID) error {
	entry, err := checkpoint.OpenErasure(signed, keys)
	if err == nil && (entry.Workspace != workspace || entry.Member != member) {
		err = errors.New("it is of something else")
	}
	return err
}

// heed asks the ledgers of a workspace of which no directory says that it was erased. One that is being erased now is as it should be.
func (m *Misplaced) heed(ctx context.Context, i Installation, l ledgers) {
	if m.ErasedIn != "" || slices.ContainsFunc(m.Copies, func(c Copy) bool { return c.Entry.Status == "erasing" }) {
		return
	}
	m.ErasedIn, m.Doubt = i.erasedIn(ctx, m.ID, l)
	m.unlisted = m.ErasedIn != ""
}

// erasedAgain gives the region in which the ledger of erasures takes a copy away, which is the first thing that a touch of it leads to; empty: in none, since
// the directory of the region where it was erased still has that.
func (m Misplaced) erasedAgain() string {
	if slices.ContainsFunc(m.Copies, func(c Copy) bool { return c.Region == m.ErasedIn }) {
		return m.ErasedIn
	}
	if m.unlisted {
		return m.Copies[0].Region
	}
	return ""
}
