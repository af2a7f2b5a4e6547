package commands

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
)

// witnessTries is how often one call sends a checkpoint to a witness.
const witnessTries = 3

// Cosign asks a witness to cosign a signed checkpoint of a workspace (C2SP tlog-witness), unless it has done so.
//
//  1. The witness gets the checkpoint, with a proof that the log continues the last checkpoint that the witness cosigned, as far as that is kept.
//  2. A witness that knows another size answers with that size. When its size is smaller, the proof is made again, from there. When its size is larger,
//     another process has sent a later checkpoint, and nothing has to be done.
//  3. The cosignature is verified, and kept beside the checkpoint.
//
// The error is a *checkpoint.WentBackError when the witness knows more records than the log has, or does not accept the proof.
func (c *Commands) Cosign(ctx context.Context, w pg.Workspace, by *checkpoint.Witness, signed []byte, at checkpoint.Checkpoint) error {
	kept, err := c.Kept.CosignedBy(ctx, w.ID, by)
	if err != nil {
		return c.notKept(ctx, w, err)
	}
	from := int64(0)
	if len(kept) > 0 && kept[0].Origin == at.Origin {
		from = min(kept[0].Size, at.Size)
		if kept[0].Checkpoint == at {
			return nil
		}
	}
	for range witnessTries {
		cosigned, err := c.sendCheckpoint(ctx, w, by, signed, at, from)
		var other *checkpoint.OtherSizeError
		switch {
		case err == nil:
			if err := c.Kept.KeepCosigned(ctx, by, cosigned, c.Witnesses, c.CosignaturesWanted); err != nil {
				return c.notKept(ctx, w, err)
			}
			return nil
		case !errors.As(err, &other) || other.Size == from:
			return witnessRefusal(err, by, at)
		case other.Size > at.Size:
			return c.overtaken(ctx, w, by, at, other.Size)
		}
		from = other.Size
	}
	return domain.Refuse(domain.Unavailable, "busy", "other processes send checkpoints of the workspace to the witness %s: try again", by.Name())
}

// sendCheckpoint sends a checkpoint to a witness, with the proof from the size that it knows.
func (c *Commands) sendCheckpoint(ctx context.Context, w pg.Workspace, by *checkpoint.Witness, signed []byte, at checkpoint.Checkpoint, from int64) (checkpoint.Cosigned, error) {
	var proof tlog.TreeProof // from size 0 there is no proof
	if from > 0 {
		var err error
		if proof, err = c.Store.ProveGrowth(ctx, w, at.Size, from); err != nil {
			return checkpoint.Cosigned{}, err
		}
	}
	return by.Cosign(ctx, signed, checkpoint.Growth(from, proof, signed))
}

// witnessRefusal turns the answer of a witness that does not cosign into an error. The proof began at the size that the witness knows, so a witness that
// rejects the proof knows another log.
func witnessRefusal(err error, by *checkpoint.Witness, at checkpoint.Checkpoint) error {
	var refused *checkpoint.RefusedError
	unproven := errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity
	if unproven || errors.As(err, new(*checkpoint.OtherSizeError)) { // the same size, with another root
		return &checkpoint.WentBackError{Witness: by.Name(), Origin: at.Origin, Size: at.Size}
	}
	return err
}

// overtaken finds out why a witness knows more records than a checkpoint has. The log is read after the answer of the witness, so it has all records that
// were ever signed, unless it went back.
func (c *Commands) overtaken(ctx context.Context, w pg.Workspace, by *checkpoint.Witness, at checkpoint.Checkpoint, known int64) error {
	_, now, err := c.Checkpoint(ctx, w)
	if err == nil && now.Origin == at.Origin && now.Size < known {
		err = &checkpoint.WentBackError{Witness: by.Name(), Origin: now.Origin, Known: known, Size: now.Size}
	}
	return err
}

// CheckpointToShow gives a checkpoint of the present log, with its cosignatures. With cosigned, it gives the newest checkpoint with as many cosignatures as are
// wanted, or else the newest with any.
func (c *Commands) CheckpointToShow(ctx context.Context, w pg.Workspace, cosigned bool) (signed []byte, at checkpoint.Checkpoint, err error) {
	if cosigned {
		return c.cosigned(ctx, w)
	}
	if signed, at, err = c.Checkpoint(ctx, w); err != nil {
		return nil, at, err
	}
	return c.withCosignatures(ctx, w, signed, at), at, nil
}

// withCosignatures adds the kept cosignatures to a checkpoint. A checkpoint is valid without them, so an error is only logged.
func (c *Commands) withCosignatures(ctx context.Context, w pg.Workspace, signed []byte, at checkpoint.Checkpoint) []byte {
	all, err := c.Kept.CosignedBy(ctx, w.ID, c.Witnesses...)
	if err != nil {
		c.Log.WarnContext(ctx, "the cosignatures of a checkpoint cannot be read", "workspace", w.ID, "error", err.Error())
	}
	return at.WithCosignatures(signed, all...)
}

func (c *Commands) cosigned(ctx context.Context, w pg.Workspace) (signed []byte, at checkpoint.Checkpoint, err error) {
	epoch, err := c.Projections.Epoch(ctx, w)
	if err != nil {
		return nil, at, err
	}
	origin := checkpoint.NewOrigin(c.PublicURL, w.ID, epoch)
	signed, err = c.Kept.CosignedAsWanted(ctx, w.ID)
	if err != nil {
		return nil, at, c.notKept(ctx, w, err)
	}
	if at, err = checkpoint.Parse(signed); err == nil && at.Origin == origin {
		return signed, at, nil
	}
	all, err := c.Kept.CosignedBy(ctx, w.ID, c.Witnesses...)
	if err != nil {
		return nil, at, c.notKept(ctx, w, err)
	}
	signed = nil
	for _, one := range all {
		if one.Origin == origin && (signed == nil || one.Size > at.Size) {
			signed, at = one.Note, one.Checkpoint
		}
	}
	if signed == nil {
		return nil, at, domain.Refuse(domain.NotFound, "not_cosigned", "no witness has cosigned a checkpoint of the log yet")
	}
	return at.WithCosignatures(signed, all...), at, nil
}
