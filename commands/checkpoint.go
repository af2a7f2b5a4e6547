package commands

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
)

// signedLogs remembers the checkpoint that was signed last, by workspace.
type signedLogs struct {
	mu sync.Mutex
	of map[uuid.UUID]*signedLog
}

// signedLog is the last signed checkpoint of one log. One goroutine signs at a time.
type signedLog struct {
	turn  chan struct{} // holds one element while nobody signs
	known bool          // whether last was looked up
	last  checkpoint.Checkpoint
}

// acquire waits for the turn to sign checkpoints of a workspace.
func (s *signedLogs) acquire(ctx context.Context, w pg.Workspace) (*signedLog, error) {
	s.mu.Lock()
	if s.of == nil {
		s.of = map[uuid.UUID]*signedLog{}
	}
	log := s.of[w.ID]
	if log == nil {
		log = &signedLog{turn: make(chan struct{}, 1)}
		log.turn <- struct{}{}
		s.of[w.ID] = log
	}
	s.mu.Unlock()
	select {
	case <-log.turn:
		return log, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(2 * treePatience):
		refusal := domain.Refuse(domain.Unavailable, "busy", "other requests wait for a checkpoint of this workspace: ask again")
		refusal.RetryAfter = time.Second
		return nil, refusal
	}
}

func (l *signedLog) giveBack() { l.turn <- struct{}{} }

// treePatience is how long a request waits until the tree has all records. The first request after many appends waits longest.
const treePatience = 2 * time.Second

// Checkpoint signs the state of a workspace's log, with everything that was committed before it was asked.
//
// A checkpoint never contradicts the one before it, which is kept outside the database (C2SP tlog-checkpoint):
//
//  1. The last checkpoint is looked up: the one that this process signed, else the one that is kept.
//  2. The tree grows to the head of the log.
//  3. Within an epoch, the tree must begin with the tree of the last checkpoint. Then the new checkpoint is signed.
//  4. The new checkpoint is kept as the last one, outside the database, and only then returned.
//
// Two processes may each sign a checkpoint that the other has not seen. Both checkpoints continue the one that was kept before.
func (c *Commands) Checkpoint(ctx context.Context, w pg.Workspace) (signed []byte, at checkpoint.Checkpoint, err error) {
	log, err := c.signed.acquire(ctx, w)
	if err != nil {
		return nil, at, err
	}
	defer log.giveBack()
	if err := c.lookUp(ctx, w, log); err != nil {
		return nil, at, err
	}
	tree, err := c.growTree(ctx, w, treePatience)
	if err == nil {
		err = c.checkContinues(ctx, w, tree, log.last)
	}
	if err == nil {
		signed, at, err = c.sign(ctx, w, tree.Size, tree.Head.Epoch)
	}
	if err != nil || at == log.last {
		return signed, at, c.Damaged(ctx, w, err)
	}
	if err := c.Kept.KeepKeys(ctx, c.Keys.PublicKeys()); err != nil {
		return nil, at, c.notKept(ctx, w, err)
	}
	if err := c.Kept.Note(ctx, at, signed); err != nil {
		return nil, at, c.notKept(ctx, w, err)
	}
	log.last = at
	return signed, at, nil
}

// Damaged turns the error of a log that lacks records, or their hashes, into a refusal. Any other error stays.
func (c *Commands) Damaged(ctx context.Context, w pg.Workspace, err error) error {
	if !errors.As(err, new(*eventstore.AheadError)) && !errors.As(err, new(*eventstore.GapError)) && !errors.Is(err, eventstore.ErrTreeBroken) && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	c.Log.ErrorContext(ctx, "nothing is signed, proven or replayed from there: the log lacks records, or their hashes; `kluis verify` says which", "workspace", w.ID, "error", err.Error())
	lacks := "records that it had, or their hashes"
	if gap, is := errors.AsType[*eventstore.GapError](err); is {
		lacks = fmt.Sprintf("the record at position %d", gap.Want)
	}
	return domain.Refuse(domain.Conflict, "log_damaged", "the log lacks %s; the operator of Kluis finds out more with `kluis verify`", lacks)
}

// notKept refuses to sign while the place for checkpoints outside the database fails.
func (c *Commands) notKept(ctx context.Context, w pg.Workspace, err error) error {
	c.Log.WarnContext(ctx, "checkpoints cannot be kept, so none is signed", "workspace", w.ID, "error", err.Error())
	refusal := domain.Refuse(domain.Unavailable, "checkpoints_unavailable", "checkpoints cannot be kept at the moment, so none is signed")
	refusal.RetryAfter = 10 * time.Second
	return refusal
}

// sign signs the state of a log at a size that its tree has.
func (c *Commands) sign(ctx context.Context, w pg.Workspace, size int64, epoch int) (signed []byte, at checkpoint.Checkpoint, err error) {
	root, err := c.Store.Root(ctx, w, size)
	if err != nil {
		return nil, at, err
	}
	at = checkpoint.Checkpoint{Origin: checkpoint.NewOrigin(c.PublicURL, w.ID, epoch), Size: size, Root: root}
	signers, err := c.Keys.Signers(at.Origin.String())
	if err != nil {
		return nil, at, err
	}
	signed, err = at.Sign(signers...)
	return signed, at, err
}

// lookUp reads the last checkpoint from the place outside the database, once. The checkpoint is zero when none was signed.
func (c *Commands) lookUp(ctx context.Context, w pg.Workspace, log *signedLog) error {
	if log.known {
		return nil
	}
	kept, err := c.Kept.Last(ctx, w.ID)
	if err != nil {
		return c.notKept(ctx, w, err)
	}
	if kept != nil {
		if log.last, err = checkpoint.Parse(kept); err != nil {
			return fmt.Errorf("the last checkpoint of workspace %s that was kept: %w", w.ID, err)
		}
	}
	log.known = true
	return nil
}

// growTree grows the Merkle tree of a log to its head, for the given time at most.
func (c *Commands) growTree(ctx context.Context, w pg.Workspace, long time.Duration) (eventstore.Tree, error) {
	tree, err := c.Store.GrowFor(ctx, w, long)
	if err == nil && tree.Behind() > 0 {
		refusal := domain.Refuse(domain.Unavailable, "catching_up", "the Merkle tree is %d records behind: ask again", tree.Behind())
		refusal.RetryAfter = time.Second
		return tree, refusal
	}
	return tree, err
}

// checkContinues refuses to sign what is no continuation of the last checkpoint.
func (c *Commands) checkContinues(ctx context.Context, w pg.Workspace, tree eventstore.Tree, last checkpoint.Checkpoint) error {
	if last.Size == 0 || tree.Head.Epoch > last.Origin.Epoch {
		return nil
	}
	found := fmt.Sprintf("it has %d records in epoch %d", tree.Size, tree.Head.Epoch)
	if tree.Head.Epoch == last.Origin.Epoch && tree.Size >= last.Size {
		root, err := c.Store.Root(ctx, w, last.Size)
		if err != nil {
			return err
		}
		if root == last.Root {
			return nil
		}
		found = "its first records are different ones"
	}
	c.Log.ErrorContext(ctx, "no checkpoint is signed: the log does not go on from the last one; `kluis verify` says where", "workspace", w.ID,
		"checkpoint", last.Size, "epoch", last.Origin.Epoch, "found", found)
	return domain.Refuse(domain.Conflict, "log_forked", "the log does not go on from the checkpoint that was signed at %d in epoch %d: %s; the operator of Kluis finds out more with `kluis verify`",
		last.Size, last.Origin.Epoch, found)
}

// InclusionProof proves that the record at a position is in the log. The proof (C2SP tlog-proof) has the checkpoint in it, so it is verified offline.
// With cosigned that is the newest cosigned checkpoint, else one of now.
func (c *Commands) InclusionProof(ctx context.Context, w pg.Workspace, position int64, cosigned bool) (string, checkpoint.Checkpoint, error) {
	signed, at, err := c.CheckpointToShow(ctx, w, cosigned)
	if err != nil {
		return "", at, err
	}
	if position > at.Size {
		return "", at, domain.Missing("record")
	}
	proof, err := c.Store.ProveRecord(ctx, w, at.Size, position)
	return checkpoint.Receipt(position-1, proof, signed), at, c.provenElsewhere(ctx, w, position, err)
}

// provenElsewhere refuses a proof of records that were pruned before the log was loaded here, because only the first installation has their hashes.
func (c *Commands) provenElsewhere(ctx context.Context, w pg.Workspace, position int64, err error) error {
	if !errors.Is(err, eventstore.ErrTreeBroken) {
		return err
	}
	var head eventstore.Head
	if err := c.DB.Read(ctx, w, eventstore.LookHead(&head)); err != nil {
		return err
	}
	if position <= head.Pruned && head.PrunedAt != nil {
		return domain.Pruned(head.Pruned, *head.PrunedAt)
	}
	return c.Damaged(ctx, w, err)
}

// ConsistencyProof proves that the first to records of the log begin with its first from records. The proof has a checkpoint at to; 0 is the head.
func (c *Commands) ConsistencyProof(ctx context.Context, w pg.Workspace, from, to int64) (string, checkpoint.Checkpoint, error) {
	signed, at, err := c.Checkpoint(ctx, w)
	switch {
	case err != nil:
		return "", at, err
	case to > at.Size:
		return "", at, domain.InvalidField("/to", "the log ends at %d", at.Size)
	case to != 0 && to != at.Size:
		if signed, at, err = c.sign(ctx, w, to, at.Origin.Epoch); err != nil {
			return "", at, c.provenElsewhere(ctx, w, to, err)
		}
	}
	if from > at.Size {
		return "", at, domain.InvalidField("/from", "must not be more than %d, where the proof ends", at.Size)
	}
	proof, err := c.Store.ProveGrowth(ctx, w, at.Size, from)
	return checkpoint.Growth(from, proof, c.withCosignatures(ctx, w, signed, at)), at, c.provenElsewhere(ctx, w, from, err)
}

// VerifierKeys gives the keys that verify the checkpoints of a workspace, in the format of signed notes (C2SP): first those that sign now, then
// former ones.
func (c *Commands) VerifierKeys(ctx context.Context, w pg.Workspace) (keys []string, err error) {
	epoch, err := c.Projections.Epoch(ctx, w)
	if err != nil {
		return nil, err
	}
	public, err := c.publicKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range public {
		text, err := key.VerifierKey(checkpoint.NewOrigin(c.PublicURL, w.ID, epoch).String())
		if err != nil {
			return nil, err
		}
		keys = append(keys, text)
	}
	return keys, nil
}

// publicKeys gives the keys that sign now, and the former ones that were kept.
func (c *Commands) publicKeys(ctx context.Context) (keyring.PublicKeys, error) {
	kept, err := c.Kept.Keys(ctx)
	return c.Keys.PublicKeys().With(kept), err
}

// KeepCheckpoint signs a checkpoint and keeps it for ever. The checkpoint of an empty log is not kept.
func (c *Commands) KeepCheckpoint(ctx context.Context, w pg.Workspace) (signed []byte, at checkpoint.Checkpoint, err error) {
	signed, at, err = c.Checkpoint(ctx, w)
	if err != nil || at.Size == 0 {
		return nil, at, err
	}
	if err := c.Kept.Keep(ctx, at, signed); err != nil {
		return nil, at, c.notKept(ctx, w, err)
	}
	return signed, at, nil
}
