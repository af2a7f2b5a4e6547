package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/moving"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/projections"
)

// End is a region that a workspace moves from or to.
type End struct {
	Region  string
	DB      *pg.DB
	Tenancy *tenancy.Tenancy
	Store   *eventstore.Store
	Blobs   blob.Store // of files, and of the first copy of kept checkpoints
	Kept    *checkpoint.Kept
}

// Moved is what a move did.
type Moved struct {
	Rows   int64         // how many rows were copied
	Blobs  int           // how many blobs were copied
	Head   int64         // the last position of the log at the move
	Root   string        // of its Merkle tree, on both sides
	Fenced time.Duration // how long nothing of the workspace could be changed
}

// Move is a workspace on its way from one region to another. From and To are databases with the same schema.
type Move struct {
	Entry    tenancy.Entry // as it is in From
	From, To End
	Home     *pg.DB            // has the lock that keeps rotations of keys out
	Say      func(step string) // is called at each step; may be nil
}

// Run moves a workspace:
//
//  1. An empty workspace that nobody may enter is made in To. All rows, blobs and kept checkpoints are copied while the workspace is in use.
//  2. Later changes are copied, round after round, until a round is short. The whole log in To is verified against its Merkle tree.
//  3. The fence (tenancy.Fence) keeps all writers out of From. The last changes are copied, and the roots of both logs are compared. Then From is closed
//     for good.
//  4. To is opened, with an event that tells of the move. The home's list names To.
//  5. Blobs, rows and role are deleted from From.
//
// When Run is killed before the end of 3, the workspace is in From, as if no move had begun. When Run is killed later, the workspace is served nowhere
// until Run is called again and goes on with 4. Sessions and API tokens are rows like others, so people stay logged in. The log keeps its name and its
// epoch, because it lost nothing. Mails that wait in From are sent from there. Rate limits count anew in To.
func (m Move) Run(ctx context.Context) (done Moved, err error) {
	if m.Say == nil {
		m.Say = func(string) {}
	}
	err = m.alone(ctx, func(ctx context.Context) error {
		var begun *tenancy.MovedError
		err := m.From.Tenancy.MayMove(ctx, m.Entry)
		switch {
		case errors.As(err, &begun) && begun.Region == m.To.Region:
			m.Say("an earlier move goes on after its fence")
			if err := m.arrivedAll(ctx); err != nil {
				return err
			}
		case errors.As(err, &begun):
			return fmt.Errorf("an earlier move to %s was broken off after its fence: run that move again", begun.Region)
		case err != nil:
			return err
		default:
			if err := m.twoPlaces(ctx); err != nil {
				return fmt.Errorf("the workspace stays where it is: %w", err)
			}
			if err := m.copy(ctx, &done); err != nil {
				return errors.Join(err, m.withdraw(ctx))
			}
		}
		return m.settle(ctx, &done)
	})
	return done, err
}

// alone runs do while no keys are rotated, and while no other move or rebuild of this workspace runs.
func (m Move) alone(ctx context.Context, do func(context.Context) error) error {
	return m.Home.Control(ctx, func(tx pgx.Tx) error {
		if err := tenancy.LockMove(ctx, tx); err != nil {
			return err
		}
		return pg.KeepAlive(ctx, tx, func(ctx context.Context) error { return m.aloneInFrom(ctx, do) })
	})
}

func (m Move) aloneInFrom(ctx context.Context, do func(context.Context) error) error {
	return m.From.DB.Control(ctx, func(tx pgx.Tx) error {
		var first bool
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock(hashtextextended($1, 0))`, m.Entry.Workspace().Schema()+" rebuild").Scan(&first); err != nil {
			return err
		}
		if !first {
			return fmt.Errorf("workspace %q is being moved or rebuilt already", m.Entry.Slug)
		}
		if _, err := tx.Exec(ctx, `set local idle_in_transaction_session_timeout = '1min'`); err != nil {
			return err
		}
		return pg.KeepAlive(ctx, tx, do)
	})
}

// arrivedAll refuses to go on after the fence when To lacks records of the log. Then a backup of To was put back since, and From has the only whole copy.
func (m Move) arrivedAll(ctx context.Context) error {
	both := Installation{Regions: []End{m.From, m.To}}
	var copies [2]Copy
	for n, end := range both.Regions {
		e, err := end.Tenancy.Entry(ctx, m.Entry.ID)
		if err == nil {
			copies[n], err = end.copyOf(ctx, e)
		}
		if n == 0 && pg.Is(err, pg.UndefinedTable, pg.NoSuchSchema) {
			return nil // From is being taken away already: an earlier run found that everything has arrived
		}
		if err != nil && !errors.Is(err, tenancy.ErrUnknown) {
			return fmt.Errorf("compare what is in region %s: %w", end.Region, err)
		}
	}
	all := copies[1].Region != ""
	if all {
		var err error
		if all, err = both.within(ctx, copies[0], copies[1]); err != nil {
			return err
		}
	}
	if !all {
		return fmt.Errorf("region %[2]s lacks records that arrived there, perhaps because a backup of it was put back, so nothing of workspace %[1]q is deleted from %[3]s: `kluis workspace keep %[1]s %[3]s` serves it there",
			m.Entry.Slug, m.To.Region, m.From.Region)
	}
	return nil
}

// withdraw deletes the copy in To after a move that failed, when the workspace is still in use in From. When the answer of the fence was lost, the
// directory of From tells whether the workspace is still there.
func (m Move) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	is, err := m.From.Tenancy.Entry(ctx, m.Entry.ID)
	if err != nil || !is.There() {
		return err
	}
	m.Say("the workspace stays where it is")
	return errors.Join(m.To.Tenancy.Withdraw(ctx, m.Entry), eraseBlobs(ctx, m.To.Blobs, m.Entry.Workspace()))
}

// twoPlaces refuses a move between regions that keep blobs in the same place, because deleting the blobs of From would delete those of To.
func (m Move) twoPlaces(ctx context.Context) error {
	key := AttachmentBlob.Key(m.Entry.ID, uuid.New()) // the key of an attachment, so that the sweep deletes a blob that is left behind
	if err := m.To.Blobs.Put(ctx, key, func(io.Writer) error { return nil }); err != nil {
		return err
	}
	there, err := m.From.Blobs.Open(ctx, key)
	if errors.Is(err, blob.ErrMissing) {
		err = nil
	} else if err == nil {
		err = errors.Join(fmt.Errorf("regions %s and %s keep files in the same place", m.From.Region, m.To.Region), there.Close())
	}
	return errors.Join(err, m.To.Blobs.Delete(ctx, key))
}

// Catching up ends with a round that is shorter than quick, or after the given number of rounds. The last round, within the fence, takes about as long
// as the one before.
const (
	quick  = 300 * time.Millisecond
	rounds = 10
)

// copy does steps 1 to 3 of Run.
func (m Move) copy(ctx context.Context, done *Moved) (err error) {
	w := m.Entry.Workspace()
	arrives := m.Entry
	arrives.Region = m.To.Region
	if err := m.To.Tenancy.Arrive(ctx, arrives); err != nil {
		return err
	}
	rows, err := moving.New(ctx, m.From.DB, m.To.DB, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close(context.WithoutCancel(ctx))) }()
	done.Rows, err = rows.All(ctx, func(table string, n int64) { m.Say(fmt.Sprintf("copied %s: %d rows so far", table, n)) })
	if err != nil {
		return err
	}
	if err := m.copyBlobs(ctx, done, true); err != nil {
		return err
	}
	if err := m.catchUp(ctx, rows, done); err != nil {
		return err
	}
	if err := m.verify(ctx); err != nil {
		return err
	}
	if err := m.catchUp(ctx, rows, done); err != nil {
		return err
	}
	return m.fence(ctx, rows, done)
}

func (m Move) catchUp(ctx context.Context, rows *moving.Copy, done *Moved) error {
	for range rounds {
		begun := time.Now()
		n, err := rows.Catch(ctx)
		if err != nil {
			return err
		}
		done.Rows += n
		m.Say(fmt.Sprintf("caught up: %d rows in %s", n, time.Since(begun).Round(time.Millisecond)))
		if time.Since(begun) < quick {
			break
		}
	}
	return nil
}

// arrived gives the store of the log in To, as the owner, because no login may enter the workspace there yet.
func (m Move) arrived() *eventstore.Store { return m.To.asOwner() }

// verify checks the whole log that arrived.
func (m Move) verify(ctx context.Context) error {
	w := m.Entry.Workspace()
	var tree eventstore.Tree
	if err := m.To.DB.AsOwner().Read(ctx, w, eventstore.LookTree(&tree)); err != nil {
		return err
	}
	if _, err := m.grow(ctx, m.arrived()); err != nil {
		return err
	}
	verdict, err := m.arrived().Verify(ctx, w, projections.Expected(w, nil, tree.Head.Epoch), nil)
	if err == nil && len(verdict.Findings) > 0 {
		err = fmt.Errorf("the log that arrived is not whole, and the workspace stays where it is: %s", verdict.Findings[0])
	}
	m.Say(fmt.Sprintf("verified: %d records", verdict.Records))
	return err
}

// grow grows the Merkle tree up to the head of the log.
func (m Move) grow(ctx context.Context, store *eventstore.Store) (tree eventstore.Tree, err error) {
	for tree, err = store.Grow(ctx, m.Entry.Workspace()); err == nil && tree.Behind() > 0; {
		tree, err = store.Grow(ctx, m.Entry.Workspace())
	}
	return tree, err
}

// fenceTries is how often the fence is tried while writers hold its locks.
const fenceTries = 20

func (m Move) fence(ctx context.Context, rows *moving.Copy, done *Moved) error {
	for try := range fenceTries {
		before, err := m.grow(ctx, m.From.Store)
		if err != nil {
			return err
		}
		if err := m.copyBlobs(ctx, done, true); err != nil {
			return err
		}
		m.Say("fence")
		begun := time.Now()
		err = m.From.Tenancy.Fence(ctx, m.Entry, m.To.Region, func(tx pgx.Tx) error {
			n, err := rows.CatchIn(ctx, tx)
			if err != nil {
				return err
			}
			done.Rows += n
			if err := m.compare(ctx, done); err != nil {
				return err
			}
			if done.Head != before.Size { // a blob is stored before its event: without a new event there is no new blob
				if err := m.copyBlobs(ctx, done, true); err != nil {
					return err
				}
			}
			m.Say("switch")
			return nil
		})
		if err == nil {
			m.Say("moved")
			err = m.openPatiently(ctx)
			done.Fenced = time.Since(begun)
			return err
		}
		if !pg.Is(err, pg.LockNotAvailable, pg.Deadlock) {
			return err
		}
		time.Sleep(time.Duration(try+1) * 50 * time.Millisecond)
	}
	return fmt.Errorf("the fence of workspace %q got no lock between its writers: try again", m.Entry.Slug)
}

// compare compares the roots of both logs. The tree in To is built from the records that arrived there.
func (m Move) compare(ctx context.Context, done *Moved) error {
	here, err := m.grow(ctx, m.From.Store)
	if err != nil {
		return err
	}
	there, err := m.grow(ctx, m.arrived())
	if err != nil {
		return err
	}
	root, err := m.From.Store.Root(ctx, m.Entry.Workspace(), here.Size)
	if err != nil {
		return err
	}
	rootThere, err := m.arrived().Root(ctx, m.Entry.Workspace(), there.Size)
	if err != nil {
		return err
	}
	if here.Size != there.Size || here.Head != there.Head || root != rootThere {
		return fmt.Errorf("the log that arrived differs (%d records, root %s, and here %d, %s): the workspace stays where it is", there.Size, rootThere, here.Size, root)
	}
	done.Head, done.Root = here.Size, root.String()
	return nil
}

// openTries is how often open is tried during an outage of To, because by then the workspace is served nowhere else.
const openTries = 60

func (m Move) openPatiently(ctx context.Context) (err error) {
	for range openTries {
		err = m.open(ctx)
		if _, outage := pg.OutageOf(err); !outage || ctx.Err() != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
	}
	return fmt.Errorf("the workspace is closed until the same command is run again and opens it in %s: %w", m.To.Region, err)
}

// open does the part of step 4 that is in To.
func (m Move) open(ctx context.Context) error {
	w := m.Entry.Workspace()
	return m.To.Tenancy.OpenArrived(ctx, m.Entry, func(tx pgx.Tx) error {
		write, err := encode(domain.WorkspaceStream(w.ID), eventstore.Any, []domain.Event{domain.WorkspaceMoved{Region: m.To.Region}}, nil)
		if err != nil {
			return err
		}
		_, err = m.arrived().AppendIn(ctx, in(tx), w, eventstore.Append{Writes: []eventstore.Write{write}})
		return err
	})
}

// settle does steps 4 and 5 of Run. An earlier run may have done a part of them.
func (m Move) settle(ctx context.Context, done *Moved) error {
	if err := m.open(ctx); err != nil {
		return err
	}
	m.Say("open")
	if err := m.From.Tenancy.Relocate(ctx, m.Entry.ID, m.To.Region); err != nil {
		return fmt.Errorf("the workspace is in %s, but the home's list does not say so yet: run the command again: %w", m.To.Region, err)
	}
	m.Say("erase")
	if err := m.copyBlobs(ctx, done, false); err != nil { // checkpoints that were signed meanwhile
		return err
	}
	// The erasures of members are copied too, because the workspace may have been in To before, and a backup of To from then brings the members back.
	ofMembers := func(key string) bool { return strings.HasPrefix(key, checkpoint.LedgerOfMembers(m.Entry.ID)) }
	if err := m.copyFolder(ctx, checkpoint.Ledgers, ofMembers, done, false); err != nil {
		return err
	}
	if err := eraseBlobs(ctx, m.From.Blobs, m.Entry.Workspace()); err != nil {
		return err
	}
	return m.From.Tenancy.Depart(ctx, m.Entry)
}

// foldersOf gives the folders of a workspace in a store of blobs.
func foldersOf(w pg.Workspace) []string { return []string{w.ID.String(), checkpoint.Folder(w.ID)} }

// copyBlobs copies the workspace's blobs that To lacks. Only the blobs of the last checkpoints ever change. With last these are copied again, which is
// correct only while To signs none.
func (m Move) copyBlobs(ctx context.Context, done *Moved, last bool) error {
	for _, folder := range foldersOf(m.Entry.Workspace()) {
		if err := m.copyFolder(ctx, folder, anyKey, done, last); err != nil {
			return err
		}
	}
	return m.copyFolder(ctx, checkpoint.KeysFolder, anyKey, done, false) // the keys that verify the checkpoints, former ones too
}

func anyKey(string) bool { return true }

// copyFolder copies the blobs of a folder whose keys are wanted.
func (m Move) copyFolder(ctx context.Context, folder string, wanted func(key string) bool, done *Moved, last bool) error {
	there := map[string]int64{}
	if err := m.To.Blobs.List(ctx, folder, func(i blob.Item) error { there[i.Key] = i.Size; return nil }); err != nil {
		return err
	}
	var missing []string
	err := m.From.Blobs.List(ctx, folder, func(i blob.Item) error {
		if size, is := there[i.Key]; wanted(i.Key) && (!is || last && (size != i.Size || checkpoint.Rewritten(i.Key))) {
			missing = append(missing, i.Key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range missing {
		if err := copyBlob(ctx, m.From.Blobs, m.To.Blobs, key); err != nil {
			return fmt.Errorf("copy the blob %s: %w", key, err)
		}
		done.Blobs++
	}
	return nil
}

func copyBlob(ctx context.Context, from, to blob.Store, key string) error {
	b, err := from.Open(ctx, key)
	if errors.Is(err, blob.ErrMissing) { // deleted since it was listed
		return nil
	}
	if err != nil {
		return err
	}
	defer b.Close()
	return to.Put(ctx, key, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(b, 0, b.Size()))
		return err
	})
}

// PurgeBlobs deletes a workspace's files and checkpoints from a store, with old versions and unfinished uploads, and gives the number of deleted blobs.
func PurgeBlobs(ctx context.Context, store blob.Store, w pg.Workspace) (sum int, err error) {
	for _, folder := range foldersOf(w) {
		n, err := store.Purge(ctx, folder)
		if sum += n; err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func eraseBlobs(ctx context.Context, store blob.Store, w pg.Workspace) error {
	_, err := PurgeBlobs(ctx, store, w)
	return err
}

// Settle brings the home's list of workspaces in line with this cell, and deletes what moves left here of workspaces that were erased since.
func (c *Commands) Settle(ctx context.Context) error {
	if err := c.Tenancy.Settle(ctx); err != nil {
		return err
	}
	strays, err := c.Tenancy.Strays(ctx)
	for _, e := range strays {
		if err == nil {
			err = eraseBlobs(ctx, c.Blobs, e.Workspace())
		}
		if err == nil && e.Moved() {
			err = c.Tenancy.Depart(ctx, e)
		} else if err == nil {
			err = c.Tenancy.Withdraw(ctx, e)
		}
		if err == nil {
			c.Log.InfoContext(ctx, "the rest that a move had left of an erased workspace was deleted", "workspace", e.ID)
		}
	}
	return err
}
