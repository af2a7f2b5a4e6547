package checkpoint

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Cosigned is a checkpoint that a witness has cosigned.
type Cosigned struct {
	Checkpoint
	Note []byte    // signed, with the line of the witness
	At   time.Time // by the clock of the witness
	line []byte
}

// WithCosignatures adds the lines of witnesses to a signed checkpoint, those of whoever cosigned that very one.
func (c Checkpoint) WithCosignatures(signed []byte, by ...Cosigned) []byte {
	signed = bytes.Clone(signed)
	for _, cosigned := range by {
		if cosigned.Checkpoint == c && !bytes.Contains(signed, cosigned.line) {
			signed = append(signed, cosigned.line...)
		}
	}
	return signed
}

// A witness cosigns what goes on from what it cosigned before. So the newest of each witness says all that the earlier ones said. These are
// kept, and the newest that has as many cosignatures as are wanted:
//
//	checkpoints-<workspace>/cosigned-<id of the witness>
//	checkpoints-<workspace>/cosigned
const cosignedName = "cosigned"

func cosignedKey(workspace uuid.UUID, by *Witness) string {
	return Folder(workspace) + "/" + cosignedName + "-" + by.ID()
}

// KeepCosigned keeps what a witness has cosigned, in the place of what it cosigned before. Where wanted witnesses or more have cosigned this
// one, it is kept with the lines of all of them.
func (k *Kept) KeepCosigned(ctx context.Context, by *Witness, c Cosigned, all []*Witness, wanted int) error {
	if err := k.put(ctx, cosignedKey(c.Origin.Workspace, by), c.Note); err != nil {
		return err
	}
	cosigned, err := k.CosignedBy(ctx, c.Origin.Workspace, all...)
	if err != nil {
		return err
	}
	n := 0
	for _, other := range cosigned {
		if other.Checkpoint == c.Checkpoint {
			n++
		}
	}
	if n < wanted {
		return nil
	}
	return k.put(ctx, Folder(c.Origin.Workspace)+"/"+cosignedName, c.WithCosignatures(c.Note, cosigned...))
}

// CosignedBy gives what each of these witnesses has cosigned last of a workspace's log. What they have not is not in it, whoever put it there.
func (k *Kept) CosignedBy(ctx context.Context, workspace uuid.UUID, by ...*Witness) (all []Cosigned, err error) {
	for _, w := range by {
		kept, err := k.get(ctx, cosignedKey(workspace, w))
		if err != nil {
			return nil, err
		}
		if c, err := w.open(kept); err == nil && c.Origin.Workspace == workspace {
			all = append(all, c)
		}
	}
	return all, nil
}

// CosignedAsWanted gives the newest checkpoint that had as many cosignatures as were wanted; nil when there is none.
func (k *Kept) CosignedAsWanted(ctx context.Context, workspace uuid.UUID) ([]byte, error) {
	return k.get(ctx, Folder(workspace)+"/"+cosignedName)
}

// Rewritten tells of the key of a blob whether it is one that is written again, as the checkpoint that was signed last is.
func Rewritten(key string) bool {
	_, name, _ := cutLast(key)
	return name == last || strings.HasPrefix(name, cosignedName)
}

// WentBackError says that a witness has cosigned more of a log than there is, or another log: whoever shows the one of now shows another one
// than before.
type WentBackError struct {
	Witness string
	Origin  Origin
	Known   int64 // the size that the witness has cosigned; 0 when it does not say
	Size    int64 // of the log
}

// Error is error's.
func (e *WentBackError) Error() string {
	if e.Known > e.Size {
		return fmt.Sprintf("the witness %s has cosigned %d records of the log %s, which has %d: it went back", e.Witness, e.Known, e.Origin, e.Size)
	}
	return fmt.Sprintf("the witness %s has cosigned other records of the log %s than there are now: of its %d records, some were changed", e.Witness, e.Origin, e.Size)
}
