package commands

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"
	"github.com/google/uuid"
	"golang.org/x/text/runes"
	"golang.org/x/text/unicode/norm"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// Upload is a file on its way in. Content ends with io.EOF when all of it has come, and with any other error when it was cut off.
type Upload struct {
	Name    string // as the sender gave it
	AtLeast int64  // how many bytes are known to come
	Content io.Reader
}

// AddAttachment adds a file to a task that the member may see, in this order:
//
//  1. Permission and quota are checked before the bytes come. Nothing is stored.
//  2. The bytes go to the store of blobs, encrypted, and are counted against the quota. The blob exists once all bytes are there.
//  3. The event is appended. The append guards task, roster, plan and storage: when the quota has room for one of two uploads, the other is
//     refused.
//
// A process that is killed between 2 and 3 leaves a blob without an event, which jobs/attachment.go deletes after a day. A refusal in 3 deletes the
// blob at once. An unknown outcome does not, because the event may be there.
func (c *Commands) AddAttachment(ctx context.Context, r Request, task uuid.UUID, up Upload) (Result[domain.Attachment], error) {
	var none Result[domain.Attachment]
	adding := addition{id: uuid.Must(uuid.NewV7()), task: task, name: fileName(up.Name)}
	if err := domain.CheckFileName(adding.name); err != nil {
		return none, err
	}
	used, err := c.keyUsed(ctx, r)
	if err != nil {
		return none, err
	}
	if !used { // a repeated request gets the first answer, whatever the quota is by now
		if err := adding.admit(ctx, c, r, up.AtLeast); err != nil {
			return none, err
		}
	}
	if err := adding.receive(ctx, c, r.By.Workspace, up.Content, !used); err != nil {
		return none, err
	}
	done, err := adding.append(ctx, c, r)
	if _, refused := domain.Refusal(err); refused && !errors.As(err, new(*eventstore.UnknownOutcomeError)) || err == nil && done.State.ID != adding.id {
		c.dropBlob(ctx, r.By.Workspace, adding.id)
	}
	return done, err
}

// addition is an attachment that is being added.
type addition struct {
	id, task uuid.UUID
	name     string
	storage  domain.Storage // as the last decision read it
	plan     string

	stored bool // the bytes are in the store
	size   int64
	kind   string
	digest [sha256.Size]byte
}

// keyUsed tells whether the idempotency key of a request was used before. The requests themselves are compared once the bytes have come.
func (c *Commands) keyUsed(ctx context.Context, r Request) (bool, error) {
	if r.Once == nil {
		return false, nil
	}
	var found []eventstore.Found
	_, err := c.Projections.Read(ctx, r.By.Workspace, eventstore.FindKey(&found, *r.Once))
	return len(found) > 0, err
}

// admit decides whether an upload of size bytes may begin.
func (n *addition) admit(ctx context.Context, c *Commands, r Request, size int64) error {
	r.Once = nil
	_, err := n.decide(ctx, c, r, func() (decision, error) {
		_, err := n.storage.Take(n.plan, n.id, size)
		return decision{}, err // no events: nothing is appended
	})
	return err
}

// append adds the attachment whose bytes have come.
func (n *addition) append(ctx context.Context, c *Commands, r Request) (Result[domain.Attachment], error) {
	ctx, cancel := context.WithTimeout(ctx, attachPatience)
	defer cancel()
	if r.Once != nil { // the name and the bytes are part of the request
		asked := append(append(r.Once.Fingerprint[:], n.digest[:]...), n.name...)
		r.Once = &Once{Key: r.Once.Key, Fingerprint: sha256.Sum256(asked)}
	}
	return n.decide(ctx, c, r, func() (decision, error) {
		if !n.stored { // the key expired after keyUsed had found it, so receive did not store the bytes
			return decision{}, domain.Refuse(domain.Unavailable, "idempotency_key_expired", "the Idempotency-Key has just expired: send the request again")
		}
		events, err := domain.NewAttachment(domain.AttachmentAdded{TaskID: n.task, Name: n.name, Size: n.size, Type: n.kind, Digest: hex.EncodeToString(n.digest[:])})
		if err != nil {
			return decision{}, err
		}
		taken, err := n.storage.Take(n.plan, n.id, n.size)
		return decision{events: events, with: []write{{domain.StorageStream, n.storage.Version, taken}}}, err
	})
}

// attachPatience limits the append after an upload, as long as any other command may take.
const attachPatience = 25 * time.Second

// decide runs a command that creates the attachment. It reads storage and plan for the decision, and guards the plan.
func (n *addition) decide(ctx context.Context, c *Commands, r Request, decide func() (decision, error)) (Result[domain.Attachment], error) {
	var storages []domain.Storage
	var workspaces []domain.Workspace
	return createWithin(ctx, c, r, projections.Attachments, domain.CreateAttachment, n.id, projections.Tasks, n.task, func(*attempt, domain.Task) (decision, error) {
		n.storage = domain.Storage{}
		if len(storages) > 0 {
			n.storage = storages[0]
		}
		if len(workspaces) == 0 {
			return decision{}, domain.Missing("workspace")
		}
		n.plan = workspaces[0].Plan
		made, err := decide()
		made.guarding = append(made.guarding, eventstore.Guard{Stream: domain.WorkspaceStream(workspaces[0].ID), Version: workspaces[0].Version})
		return made, err
	}, projections.LoadStorage(&storages), projections.LoadWorkspace(&workspaces))
}

// receive reads the bytes in constant memory. With store they are stored; without, they are only hashed, for a repeated request.
func (n *addition) receive(ctx context.Context, c *Commands, w pg.Workspace, content io.Reader, store bool) error {
	in := &intake{from: content, hash: sha256.New(), check: func(size int64) error {
		if !store && size <= domain.MaxFile {
			return nil
		}
		_, err := n.storage.Take(n.plan, n.id, size)
		return err
	}}
	sealer, err := c.sealer(ctx, w, n.id)
	if err != nil {
		return err
	}
	if store {
		err = c.putBlob(ctx, BlobKey(w, n.id), sealer, in)
	} else {
		_, err = io.Copy(io.Discard, in)
	}
	if in.err != nil {
		return in.err // the sender's error, whatever error the store made of it
	}
	if err != nil {
		return c.noBlobs(ctx, w, n.id, err)
	}
	n.stored, n.size, n.kind, n.digest = store, in.size, mimetype.Detect(in.head).String(), [sha256.Size]byte(in.hash.Sum(nil))
	return nil
}

// DeleteAttachment deletes an attachment, and then its bytes for good. Its history stays. A process that is killed in between leaves bytes that
// jobs/attachment.go deletes.
func (c *Commands) DeleteAttachment(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Attachment], error) {
	done, err := changeOne(ctx, c, r, projections.Attachments, domain.DeleteAttachment, id, func(_ *attempt, a domain.Attachment) (decision, error) {
		events, err := a.Delete()
		return decision{events: events, with: []write{{domain.StorageStream, eventstore.Any, a.Free()}}}, err
	})
	if err == nil {
		c.dropBlob(ctx, r.By.Workspace, id)
	}
	return done, err
}

// fileName is the name of a file as it is stored: in NFC, without the folders that some programs send along (RFC 7578, 4.2), and without invisible
// characters and those that change the direction of text.
func fileName(name string) string {
	if !utf8.ValidString(name) {
		return name // domain.CheckFileName refuses it
	}
	name = runes.Remove(runes.Predicate(domain.Ignorable)).String(norm.NFC.String(name))
	return strings.TrimSpace(name[strings.LastIndexAny(name, `/\`)+1:])
}
