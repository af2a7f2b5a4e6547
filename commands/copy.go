package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// A backup of a region knows nothing of later moves. A restore may bring a workspace back to a region that the workspace has left, or take the workspace
// from the region where it is. The home's list may be just as old. So the regions are compared after every restore. A workspace is served from the
// region whose log has all records of the other regions' logs. When each of two logs has records of its own, neither is served, and the operator decides.

// Installation is all regions of Kluis, as far as this process reaches them.
type Installation struct {
	Regions []End    // the home first
	Away    []string // regions that cannot be reached, or that the home's list names and the settings do not
	Patient bool     // whether a comparison waits a while for a move, or for another comparison

	Keys keyring.PublicKeys // that sign the entries of the ledgers of erasures
}

// Copy is a workspace as one region has it.
type Copy struct {
	Region string
	Entry  tenancy.Entry
	Epoch  int
	Size   int64  // how many records the log has
	Root   string // of its Merkle tree
	own    int64  // the position of the last record that is not a workspace.restored
}

func (c Copy) String() string {
	return fmt.Sprintf("%s (%s, epoch %d, %d records, root %s)", c.Region, c.Entry.Status, c.Epoch, c.Size, c.Root)
}

// Misplaced is a workspace that is in no region, in several, or not in the one that the home's list names.
type Misplaced struct {
	ID       uuid.UUID
	Slug     string
	Listed   string // the region in the home's list; empty: none
	ErasedIn string // the region in which the workspace was erased; empty: none
	Doubt    error  // why it is not known whether the workspace was erased
	Copies   []Copy
	Right    string // the region whose log has all records of the other logs; empty: there is none
	Broken   bool   // whether a move was broken off after its fence
	Left     string // the region that the workspace left by a move, when the region of its destination lacks it; empty: none

	unlisted bool // only a ledger says that the workspace was erased
}

// Find finds the misplaced workspaces. When only is not uuid.Nil, it looks at that workspace. Regions that are away are not compared.
func (i Installation) Find(ctx context.Context, only uuid.UUID) (found []Misplaced, err error) {
	erased := i.ledgers(ctx, only)
	listed, err := i.Regions[0].Tenancy.Listed(ctx, only)
	if err != nil {
		return nil, fmt.Errorf("read the home's list: %w", err)
	}
	here := map[uuid.UUID]map[string]tenancy.Entry{}
	for _, region := range i.Regions {
		entries, err := region.Tenancy.Every(ctx, only)
		if err != nil {
			return nil, fmt.Errorf("region %s: %w", region.Region, err)
		}
		for _, e := range entries {
			if here[e.ID] == nil {
				here[e.ID] = map[string]tenancy.Entry{}
			}
			here[e.ID][region.Region] = e
		}
	}
	for _, l := range listed {
		err = errors.Join(err, i.judge(ctx, l, here[l.ID], erased, &found))
		delete(here, l.ID)
	}
	for id, entries := range here { // the home does not list these, as after a restore of the home
		err = errors.Join(err, i.judge(ctx, tenancy.Listed{ID: id}, entries, erased, &found))
	}
	return found, err
}

// judge adds a workspace to those found, unless it is where it should be.
func (i Installation) judge(ctx context.Context, l tenancy.Listed, entries map[string]tenancy.Entry, erased ledgers, found *[]Misplaced) error {
	m := Misplaced{ID: l.ID, Slug: l.Slug, Listed: l.Region}
	if l.Erased {
		m.ErasedIn = l.Region
	}
	for _, region := range i.Regions {
		e, is := entries[region.Region]
		switch {
		case !is:
			continue
		case e.There():
			m.Copies = append(m.Copies, Copy{Region: region.Region, Entry: e})
		case e.Status == "erased":
			m.ErasedIn = region.Region
		case e.Moved() && entries[e.Region].Slug != "":
			m.Broken = true
		case e.Moved():
			m.Left = region.Region
		}
		m.Slug = e.Slug
	}
	m.heed(ctx, i, erased)
	switch n := len(m.Copies); {
	case m.ErasedIn != "" && n == 0 && (!m.unlisted || m.Listed == ""):
		return nil
	case m.ErasedIn != "" && n > 0:
		m.Right = m.erasedAgain()
	case m.ErasedIn != "":
	case n == 0 && (!l.Settled || len(i.Away) > 0), n == 1 && (m.Listed == "" || m.Listed == m.Copies[0].Region || i.away(m.Listed)):
		return nil
	case n == 1:
		m.Right = m.Copies[0].Region
	}
	if err := i.compareLogs(ctx, &m); err != nil {
		return fmt.Errorf("compare the copies of workspace %q: %w", m.Slug, err)
	}
	*found = append(*found, m)
	return nil
}

func (i Installation) away(region string) bool { return slices.Contains(i.Away, region) }

// End is a region by its name.
func (i Installation) End(region string) (End, error) {
	n := slices.IndexFunc(i.Regions, func(e End) bool { return e.Region == region })
	if n < 0 {
		return End{}, fmt.Errorf("region %s cannot be reached", region)
	}
	return i.Regions[n], nil
}

// compareLogs reads the logs of all copies, and finds the one that has all records of the others.
func (i Installation) compareLogs(ctx context.Context, m *Misplaced) error {
	for n := range m.Copies {
		end, err := i.End(m.Copies[n].Region)
		if err == nil {
			m.Copies[n], err = end.copyOf(ctx, m.Copies[n].Entry)
		}
		if err != nil {
			return err
		}
	}
	if m.ErasedIn != "" || len(m.Copies) < 2 {
		return nil
	}
	for _, right := range m.Copies {
		all := true
		for _, other := range m.Copies {
			within, err := i.within(ctx, other, right)
			if err != nil {
				return err
			}
			all = all && within
		}
		if all {
			m.Right = right.Region
			return nil
		}
	}
	return nil
}

// asOwner gives a store that reads logs as the owner, because a workspace may be closed to every login.
func (e End) asOwner() *eventstore.Store {
	return eventstore.New(e.DB.AsOwner(), eventstore.NewBell())
}

// copyOf reads size, epoch and root of the log of a workspace in a region.
func (e End) copyOf(ctx context.Context, entry tenancy.Entry) (c Copy, err error) {
	w := entry.Workspace()
	c = Copy{Region: e.Region, Entry: entry}
	tree, err := e.asOwner().Grow(ctx, w)
	for err == nil && tree.Behind() > 0 {
		tree, err = e.asOwner().Grow(ctx, w)
	}
	if err != nil {
		return c, err
	}
	c.Size, c.Epoch = tree.Size, tree.Head.Epoch
	root, err := e.asOwner().Root(ctx, w, c.Size)
	if err != nil {
		return c, err
	}
	c.Root = root.String()
	err = e.DB.InAsOwner(ctx, w, func(tx *pg.Tx) error {
		return tx.Run(ctx, pg.Exec(`select coalesce((select position from event where type <> 'workspace.restored' and position <= $1 order by position desc limit 1), pruned) from head`, c.Size).Scan(&c.own))
	})
	return c, err
}

// within tells whether the log of other has all records of the log of c. The workspace.restored records at the end of c do not count.
func (i Installation) within(ctx context.Context, c, other Copy) (bool, error) {
	if c.Region == other.Region || c.own > other.Size {
		return c.Region == other.Region, nil
	}
	if c.own == 0 {
		return true, nil
	}
	var roots [2]string
	for n, in := range []Copy{c, other} {
		end, err := i.End(in.Region)
		if err != nil {
			return false, err
		}
		root, err := end.asOwner().Root(ctx, in.Entry.Workspace(), c.own)
		if err != nil {
			return false, err
		}
		roots[n] = root.String()
	}
	return roots[0] == roots[1], nil
}

// withMovesLocked keeps moves off while do compares and changes regions. The error is tenancy.ErrBusy while a workspace moves.
func (i Installation) withMovesLocked(ctx context.Context, do func(context.Context) error) error {
	return i.Regions[0].DB.Control(ctx, func(tx pgx.Tx) error {
		if err := tenancy.LockPlaces(ctx, tx, i.Patient); err != nil {
			return err
		}
		return pg.KeepAlive(ctx, tx, do)
	})
}

// ShareLedgers copies the erasures of a region's workspaces, or of one workspace, from the ledgers of the other regions into the ledger of that region. An
// erasure is in the ledger of the region where the workspace was then, and a backup from before a move brings the workspace, or a member, back in
// another region. ShareLedgers tells whether it copied any entry. HeedLedger checks their signatures later.
func (i Installation) ShareLedgers(ctx context.Context, region string, only uuid.UUID) (found bool, err error) {
	to, err := i.End(region)
	if err != nil {
		return false, err
	}
	entries, err := to.Tenancy.Every(ctx, only)
	if err != nil {
		return false, err
	}
	here := map[uuid.UUID]bool{}
	for _, e := range entries {
		here[e.ID] = e.There()
	}
	var done Moved
	for _, from := range i.Regions {
		if from.Region == region {
			continue
		}
		wanted := func(key string) bool { return here[checkpoint.LedgerOf(key)] }
		if err := (Move{From: from, To: to}).copyFolder(ctx, checkpoint.Ledgers, wanted, &done, false); err != nil {
			return false, fmt.Errorf("bring the ledger of erasures from region %s to %s: %w", from.Region, region, err)
		}
	}
	return done.Blobs > 0, nil
}

// FindLocked is Find, and keeps moves off meanwhile.
func (i Installation) FindLocked(ctx context.Context) (found []Misplaced, err error) {
	err = i.withMovesLocked(ctx, func(ctx context.Context) error {
		found, err = i.Find(ctx, uuid.Nil)
		return err
	})
	return found, err
}

// Mend finds the misplaced workspaces, and makes sure that no workspace is served twice:
//
//  1. When one log has all records of the others, the other copies are closed, as a move closes its source. Nothing is deleted from them.
//  2. The home's list then names the region of that log.
//  3. When no log has all records, every copy is closed.
//  4. A copy of a workspace that was erased elsewhere is closed, and Settle deletes it like the rest of a broken move. When only a ledger of erasures
//     knows of the erasure, one copy stays as it is: the ledger has it erased before anybody is served. When there is no copy, the home's list notes the
//     erasure.
//
// When Mend is killed between 1 and 2, the workspace is not served until Mend runs again.
func (i Installation) Mend(ctx context.Context, only uuid.UUID) (found []Misplaced, err error) {
	if found, err = i.Find(ctx, only); err != nil || len(found) == 0 {
		return nil, err
	}
	err = i.withMovesLocked(ctx, func(ctx context.Context) error {
		if found, err = i.Find(ctx, only); err != nil {
			return err
		}
		var failed []error
		for _, m := range found {
			failed = append(failed, i.mend(ctx, m))
		}
		return errors.Join(failed...)
	})
	return found, err
}

func (i Installation) mend(ctx context.Context, m Misplaced) error {
	for _, c := range m.Copies {
		end, err := i.End(c.Region)
		switch {
		case err != nil || c.Region == m.Right:
		case m.Right != "" || m.ErasedIn != "":
			err = end.setAside(ctx, c, cmp.Or(m.Right, m.ErasedIn))
		case c.Entry.Status == "active":
			err = end.Tenancy.CloseWorkspace(ctx, m.Slug)
		}
		if err != nil {
			return fmt.Errorf("close the copy of workspace %q in region %s: %w", m.Slug, c.Region, err)
		}
	}
	if len(m.Copies) == 0 && m.ErasedIn != "" {
		return i.Regions[0].Tenancy.ListErased(ctx, m.ErasedIn, m.ID)
	}
	if m.Right == "" || m.Right == m.Listed {
		return nil
	}
	return i.Regions[0].Tenancy.Relocate(ctx, m.ID, m.Right)
}

// setAside closes a copy for good, as a move closes its source, unless the log of the copy has grown since it was read.
func (e End) setAside(ctx context.Context, c Copy, to string) error {
	return e.Tenancy.Fence(ctx, c.Entry, to, func(tx pgx.Tx) error {
		var size int64
		err := tx.QueryRow(ctx, `select position from head`).Scan(&size)
		if err == nil && size != c.Size {
			err = fmt.Errorf("somebody wrote to it meanwhile: its log had %d records, and has %d", c.Size, size)
		}
		return err
	})
}

// Keep makes one region serve a workspace, and closes the copies in the other regions, as a move closes its source. With discard those copies are
// deleted. kept and others are the copies as they were before.
func (i Installation) Keep(ctx context.Context, slug, region string, discard bool) (kept Copy, others []Copy, err error) {
	err = i.withMovesLocked(ctx, func(ctx context.Context) error {
		end, err := i.End(region)
		if err != nil {
			return err
		}
		e, err := end.Tenancy.Named(ctx, slug)
		if err != nil {
			return fmt.Errorf("workspace %q in region %s: %w", slug, region, err)
		}
		if !e.There() && !e.Moved() {
			return fmt.Errorf("workspace %q is %s in region %s: it cannot be served from there", slug, e.Status, region)
		}
		if erased, _ := i.erasedIn(ctx, e.ID, i.ledgers(ctx, e.ID)); erased != "" {
			return fmt.Errorf("workspace %q was erased, as the ledger of erasures in region %s says: a copy that a backup brought back is not served", slug, erased)
		}
		if kept, err = end.copyOf(ctx, e); err != nil {
			return fmt.Errorf("region %s: %w", region, err)
		}
		if others, err = i.others(ctx, e.ID, region, discard); err != nil {
			return err
		}
		if err := i.Regions[0].Tenancy.Relocate(ctx, e.ID, region); err != nil {
			return err
		}
		if len(i.Away) == 0 { // the servers can compare the regions themselves
			return end.open(ctx, e, false)
		}
		if _, err := i.ShareLedgers(ctx, region, e.ID); err != nil {
			return err
		}
		return end.open(ctx, e, true)
	})
	return kept, others, err
}

// open opens a workspace to its members. heeded says that the servers need not compare the other regions first.
func (e End) open(ctx context.Context, w tenancy.Entry, heeded bool) error {
	switch {
	case w.Status != "active":
		return e.Tenancy.Reopen(ctx, w, e.Region, heeded)
	case heeded:
		_, err := e.Tenancy.Heed(ctx, w.Workspace())
		return err
	}
	return nil
}

// others closes the copies of a workspace in the other regions, and with discard deletes them.
func (i Installation) others(ctx context.Context, id uuid.UUID, kept string, discard bool) (others []Copy, err error) {
	for _, end := range i.Regions {
		e, err := end.Tenancy.Entry(ctx, id)
		if end.Region == kept || errors.Is(err, tenancy.ErrUnknown) || err == nil && !e.There() && !e.Moved() {
			continue
		}
		var c Copy
		if err == nil {
			c, err = end.copyOf(ctx, e)
		}
		if err == nil && e.There() {
			err = end.setAside(ctx, c, kept)
		}
		if err == nil && discard {
			if err = eraseBlobs(ctx, end.Blobs, e.Workspace()); err == nil {
				err = end.Tenancy.Depart(ctx, e)
			}
		}
		if err != nil {
			return others, fmt.Errorf("region %s: %w", end.Region, err)
		}
		others = append(others, c)
	}
	return others, nil
}
