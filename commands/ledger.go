package commands

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/time/rate"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
)

// ledgered is what a process knows of the ledger of erasures: its entries when the process first used the database, and the workspaces that agree with
// them. A later erasure needs no second look, because the process that erases does all of it.
type ledgered struct {
	ledger  atomic.Pointer[readLedger] // nil: the ledger was not read yet
	checked sync.Map                   // the incarnation of the database in which a workspace agreed with the ledger, by the id of the workspace
	doubted sync.Map                   // the ids of workspaces whose entry is not signed by our keys, when the process log has said so

	tries rate.Sometimes // to read the ledger, one at a time
}

// readLedger is the ledger as it was read in one incarnation of the database.
type readLedger struct {
	checkpoint.Ledger
	incarnation int64
}

// Gate wraps a gate that workspaces pass before they are served. An older backup, or a standby that lacked the last commits, may bring an erased or a
// moved workspace back. Gate finds that before anybody is served:
//
//  1. The ledger is read when the process begins, and again when another database answers (see pg.DB.Incarnation).
//  2. The first use of a workspace checks it against the ledger, and, when another database answers than the last time, against the other regions. The
//     directory notes the database in which that happened.
//  3. While the ledger cannot be read, a workspace is served only when it was checked in this same database, because no backup was put back since.
func (c *Commands) Gate(next pg.Gate) pg.Gate {
	return func(ctx context.Context, w pg.Workspace, lacks error) error {
		incarnation := c.DB.Incarnation()
		if checked, _ := c.ledgered.checked.Load(w.ID); checked != incarnation {
			if err := c.heedMoves(ctx, w); err != nil {
				return err
			}
			if err := c.heedLedger(ctx, w, incarnation, next); err != nil {
				return err
			}
		}
		return next(ctx, w, lacks)
	}
}

func (c *Commands) heedMoves(ctx context.Context, w pg.Workspace) error {
	if c.OnlyHere == nil {
		return nil
	}
	if there, heeded, err := c.Tenancy.Heeded(ctx, w); err != nil || heeded || !there {
		return err
	}
	return c.OnlyHere(ctx, w)
}

func (c *Commands) heedLedger(ctx context.Context, w pg.Workspace, incarnation int64, next pg.Gate) error {
	ledger := c.ledgerOf(ctx, incarnation)
	if ledger == nil {
		return c.withoutLedger(ctx, w)
	}
	if ledger.Workspaces[w.ID] {
		gone, err := c.eraseRestored(ctx, w)
		if err != nil {
			return err
		}
		if !gone {
			return pg.NewClosedError(nil)
		}
	}
	if members := ledger.Members[w.ID]; len(members) > 0 {
		if err := next(ctx, w, nil); err != nil { // migrations come first
			return err
		}
		if err := c.eraseMembersAgain(ctx, w, members); err != nil {
			return err
		}
	}
	here, err := c.Tenancy.Heed(ctx, w)
	if _, outage := pg.OutageOf(err); err != nil && !outage { // when nothing can be written at the moment, reading goes on
		return fmt.Errorf("note that the ledger of erasures was heeded for workspace %s: %w", w.ID, err)
	}
	if here || err != nil { // a workspace that moved away may come back, by a move or by `kluis workspace keep`, and is checked again then
		c.ledgered.checked.Store(w.ID, incarnation)
	}
	return nil
}

// withoutLedger refuses a workspace that was not checked against the ledger in this database.
func (c *Commands) withoutLedger(ctx context.Context, w pg.Workspace) error {
	_, heeded, err := c.Tenancy.Heeded(ctx, w)
	if err != nil || heeded {
		return err
	}
	return erasuresUnavailable(5 * time.Second)
}

func erasuresUnavailable(retry time.Duration) error {
	refusal := domain.Refuse(domain.Unavailable, "erasures_unavailable", "the ledger of erasures cannot be read at the moment")
	refusal.RetryAfter = retry
	return refusal
}

const (
	ledgerPatience = 5 * time.Second // how long a read of the ledger may take
	ledgerPause    = 5 * time.Second // between two reads that failed
)

// ReadLedger reads the ledger of erasures once.
func (c *Commands) ReadLedger(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerPatience)
	defer cancel()
	incarnation := c.DB.Incarnation()
	ledger, err := c.Kept.Ledger(ctx)
	if err == nil {
		c.ledgered.ledger.Store(&readLedger{ledger, incarnation})
	}
	return err
}

// ledgerOf gives the ledger as it was read in an incarnation of the database, and reads it when it was not; nil while it cannot be read. Callers at the
// same time share one read.
func (c *Commands) ledgerOf(ctx context.Context, incarnation int64) *readLedger {
	known := func() *readLedger {
		if read := c.ledgered.ledger.Load(); read != nil && read.incarnation == incarnation {
			return read
		}
		return nil
	}
	if read := known(); read != nil {
		return read
	}
	c.ledgered.tries.Do(func() {
		if err := c.ReadLedger(ctx); err != nil {
			c.Log.WarnContext(ctx, "the ledger of erasures cannot be read: a workspace for which it was not heeded in this database is not served, since a backup that was put back may have what was erased",
				"again_in", ledgerPause.String(), "error", err.Error())
		}
	})
	return known()
}

// checkErased checks that the entry of an erasure in the ledger was signed, because a stranger who can write to the ledger must not erase anything.
func (c *Commands) checkErased(ctx context.Context, w pg.Workspace, member uuid.UUID) error {
	signed, err := c.Kept.Erasure(ctx, w.ID, member)
	if err != nil {
		return err
	}
	if err := openErasure(signed, c.Keys.PublicKeys(), w.ID, member); err != nil {
		if _, said := c.ledgered.doubted.LoadOrStore(w.ID, true); !said {
			c.Log.ErrorContext(ctx, "an entry of the ledger of erasures is not signed by our keys: the workspace is not served", "workspace", w.ID, "member", member, "error", err.Error())
		}
		return erasuresUnavailable(time.Minute)
	}
	return nil
}

// eraseRestored queues the erasure of a workspace that an older backup brought back, and tells whether the workspace is gone. An erasure that is under
// way goes on.
func (c *Commands) eraseRestored(ctx context.Context, w pg.Workspace) (gone bool, err error) {
	var status string
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select coalesce((select status from kluis.workspace where id = $1), 'erased')`, w.ID).Scan(&status)
	})
	if err != nil || status == "erased" || status == "erasing" {
		return status == "erased", err
	}
	if err := c.checkErased(ctx, w, uuid.Nil); err != nil {
		return false, err
	}
	c.Log.WarnContext(ctx, "a backup brought back a workspace that was erased since: it is erased again", "workspace", w.ID)
	return false, c.DB.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into kluis.erasure (workspace_id, slug, due_at, facts) select id, slug, now(), jsonb_build_object($2::text, 'yes') from kluis.workspace where id = $1
			on conflict (workspace_id) do update set due_at = now(), step = '', facts = excluded.facts, certificate = null`, w.ID, restoredFact)
		return err
	})
}

// eraseMembersAgain erases the members whose key an older backup brought back. It runs as the owner, before anybody is served.
func (c *Commands) eraseMembersAgain(ctx context.Context, w pg.Workspace, members []uuid.UUID) error {
	var back []uuid.UUID
	there := pg.Column(&back, `select subject from data_key where subject = any($1)`, members)
	if err := c.DB.InAsOwner(ctx, w, func(tx *pg.Tx) error { return tx.Run(ctx, there) }); err != nil || len(back) == 0 {
		return err
	}
	for _, member := range back {
		if err := c.checkErased(ctx, w, member); err != nil {
			return err
		}
		err := c.DB.InAsOwner(ctx, w, func(tx *pg.Tx) error {
			var locked []uuid.UUID
			if err := tx.Run(ctx, pg.Column(&locked, `select subject from data_key where subject = $1 for update`, member)); err != nil || len(locked) == 0 {
				return err // another process was quicker
			}
			write, err := encode(domain.RosterStream, eventstore.Any, []domain.Event{domain.MemberErased{MemberID: member}}, nil)
			if err != nil {
				return err
			}
			if err := tx.Run(ctx, append(dropAccess(member), dropTraces(member)...)...); err != nil {
				return err
			}
			if _, err := c.Store.AppendIn(ctx, tx.Run, w, eventstore.Append{Writes: []eventstore.Write{write}}); err != nil {
				return err
			}
			return tx.Run(ctx, vault.Destroy(member))
		})
		if err != nil {
			return fmt.Errorf("erase member %s of workspace %s again: %w", member, w.ID, err)
		}
		c.Vault.Forget(w, member)
		c.Log.WarnContext(ctx, "a backup brought back a member who was erased since: erased again", "workspace", w.ID, "member", member)
	}
	return nil
}

// HeedLedger erases again the members that a backup brought back, and queues the erasure of the workspaces that it brought back. It returns these
// workspaces.
func (c *Commands) HeedLedger(ctx context.Context, all []tenancy.Entry) (whole []pg.Workspace, err error) {
	ledger, err := c.Kept.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		w := e.Workspace()
		if ledger.Workspaces[w.ID] {
			if _, err := c.eraseRestored(ctx, w); err != nil {
				return nil, err
			}
			whole = append(whole, w)
		} else if members := ledger.Members[w.ID]; len(members) > 0 {
			if err := c.eraseMembersAgain(ctx, w, members); err != nil {
				return nil, err
			}
		}
	}
	return whole, nil
}
