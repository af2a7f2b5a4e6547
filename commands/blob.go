package commands

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/pg"
)

// putBlob stores the bytes of an attachment.
func (c *Commands) putBlob(ctx context.Context, key string, sealer blob.Sealer, from io.Reader) error {
	return c.Blobs.Put(ctx, key, func(to io.Writer) error {
		plain, err := sealer.Encrypt(to)
		if err != nil {
			return err
		}
		if _, err := io.Copy(plain, from); err != nil {
			return err
		}
		return plain.Close()
	})
}

// The kinds of blobs in the folder of a workspace.
var (
	AttachmentBlob = blob.NewKind("{workspace}/{attachment}")
	importBlob     = blob.NewKind("{workspace}/import-{import}")
	exportBlob     = blob.NewKind("{workspace}/export-{export}")
)

// ParseBlobKey tells what a blob of a workspace is of.
func ParseBlobKey(w pg.Workspace, key string) (kind *blob.Kind, id uuid.UUID, known bool) {
	for _, kind := range []*blob.Kind{AttachmentBlob, importBlob, exportBlob} {
		if ids := kind.IDs(key); len(ids) == 2 && ids[0] == w.ID {
			return kind, ids[1], true
		}
	}
	return nil, uuid.Nil, false
}

// BlobKey is the key under which the bytes of an attachment are stored. It says nothing about them.
func BlobKey(w pg.Workspace, attachment uuid.UUID) string {
	return AttachmentBlob.Key(w.ID, attachment)
}

// sealer seals the key of an attachment's bytes under the data key of the workspace. The workspace and the attachment are part of what is sealed.
func (c *Commands) sealer(ctx context.Context, w pg.Workspace, id uuid.UUID) (blob.Sealer, error) {
	own, err := c.Vault.Key(ctx, w, w.ID)
	if err != nil {
		return blob.Sealer{}, err
	}
	field := "attachment.content/" + id.String()
	return blob.Sealer{
		Seal: func(key string) (string, error) { return own.Seal(field, key) },
		Open: func(sealed string) (string, error) { return own.Open(field, sealed) },
	}, nil
}

// noBlobs refuses what the store of blobs does not do at the moment. The operator of Kluis has to act, so the log says why.
func (c *Commands) noBlobs(ctx context.Context, w pg.Workspace, id uuid.UUID, err error) error {
	if ctx.Err() != nil { // the caller left
		return ctx.Err()
	}
	c.Log.WarnContext(ctx, "the store of attachments failed", "workspace", w.ID, "attachment", id, "error", err.Error())
	refusal := domain.Refuse(domain.Unavailable, "attachments_unavailable", "the files of attachments cannot be reached at the moment")
	refusal.RetryAfter = 5 * time.Second
	return errors.Join(refusal, err)
}

// dropBlob takes the bytes of an attachment away that is not there. A failure is left to the job that sweeps.
func (c *Commands) dropBlob(ctx context.Context, w pg.Workspace, id uuid.UUID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.Blobs.Delete(ctx, BlobKey(w, id)); err != nil {
		c.Log.WarnContext(ctx, "the bytes of an attachment could not be deleted; they will be later", "workspace", w.ID, "attachment", id, "error", err.Error())
	}
}

// Content is the plain bytes of an attachment, which may be read from anywhere in them.
type Content struct {
	*io.SectionReader
	blob blob.Blob
}

// Close ends the reading.
func (c Content) Close() error { return c.blob.Close() }

// watched is a blob that remembers why it could not be read.
type watched struct {
	blob.Blob
	err error
}

func (b *watched) ReadAt(p []byte, offset int64) (int, error) {
	n, err := b.Blob.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// OpenAttachment opens the bytes of an attachment, which the caller may read, until ctx ends. A part that is damaged is an error when it is read.
func (c *Commands) OpenAttachment(ctx context.Context, w pg.Workspace, a domain.Attachment) (Content, error) {
	content, err := c.openBlob(ctx, w, BlobKey(w, a.ID), a.ID, a.Size)
	if errors.Is(err, blob.ErrMissing) {
		c.Log.WarnContext(ctx, "the bytes of an attachment are missing: it was deleted just now, or they were lost", "workspace", w.ID, "attachment", a.ID)
		return Content{}, domain.Refuse(domain.NotFound, "attachment_content_missing", "the bytes of the attachment are not there: it was deleted, or they are not in the backup that was put back")
	}
	return content, err
}

// openBlob opens the blob of a thing, which must have so many plain bytes. The error is blob.ErrMissing when there is none.
func (c *Commands) openBlob(ctx context.Context, w pg.Workspace, key string, id uuid.UUID, bytes int64) (Content, error) {
	sealer, err := c.sealer(ctx, w, id)
	if err != nil {
		return Content{}, err
	}
	opened, err := c.Blobs.Open(ctx, key)
	if errors.Is(err, blob.ErrMissing) {
		return Content{}, err
	}
	if err != nil {
		return Content{}, c.noBlobs(ctx, w, id, err)
	}
	stored := &watched{Blob: opened}
	plain, size, err := sealer.Decrypt(stored)
	if err == nil && size != bytes {
		err = fmt.Errorf("it has %d bytes, and should have %d", size, bytes)
	}
	if stored.err != nil {
		return Content{}, errors.Join(c.noBlobs(ctx, w, id, stored.err), stored.Close())
	}
	if err != nil { // somebody changed what is stored
		return Content{}, errors.Join(fmt.Errorf("blob %s: %w", key, err), stored.Close())
	}
	return Content{io.NewSectionReader(plain, 0, size), stored}, nil
}

// intake is bytes that are counted, hashed and looked at as they come.
type intake struct {
	from  io.Reader
	hash  hash.Hash
	check func(size int64) error
	size  int64
	head  []byte // by which the type is known
	err   error  // why they were cut off, or are too many
}

// headSize is how much of a file mimetype looks at.
const headSize = 3072

func (i *intake) Read(p []byte) (int, error) {
	n, err := i.from.Read(p)
	i.size += int64(n)
	i.hash.Write(p[:n]) // never fails
	if room := headSize - len(i.head); room > 0 {
		i.head = append(i.head, p[:min(n, room)]...)
	}
	if refused := i.check(i.size); refused != nil {
		err = refused
	}
	if err != nil && !errors.Is(err, io.EOF) {
		i.err = err
	}
	return n, err
}
