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

// ParseBlobKey gives the kind of a workspace's blob, and the id of the thing that the blob belongs to.
func ParseBlobKey(w pg.Workspace, key string) (kind *blob.Kind, id uuid.UUID, known bool) {
	for _, kind := range []*blob.Kind{AttachmentBlob, importBlob, exportBlob} {
		if ids := kind.IDs(key); len(ids) == 2 && ids[0] == w.ID {
			return kind, ids[1], true
		}
	}
	return nil, uuid.Nil, false
}

// BlobKey is the key under which the bytes of an attachment are stored. The key says nothing about the bytes.
func BlobKey(w pg.Workspace, attachment uuid.UUID) string {
	return AttachmentBlob.Key(w.ID, attachment)
}

// sealer seals the key of a blob under the data key of the workspace. The sealed key opens only for that workspace and that id.
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

// noBlobs logs a failure of the store of blobs, for the operator of Kluis, and makes a refusal of it.
func (c *Commands) noBlobs(ctx context.Context, w pg.Workspace, id uuid.UUID, err error) error {
	if ctx.Err() != nil { // the caller left
		return ctx.Err()
	}
	c.Log.WarnContext(ctx, "the store of files failed", "workspace", w.ID, "blob", id, "error", err.Error())
	refusal := domain.Refuse(domain.Unavailable, "attachments_unavailable", "the files of attachments cannot be reached at the moment")
	refusal.RetryAfter = 5 * time.Second
	return errors.Join(refusal, err)
}

// dropBlob deletes the bytes of an attachment that does not exist, or does no longer. After a failure the sweeping job deletes them.
func (c *Commands) dropBlob(ctx context.Context, w pg.Workspace, id uuid.UUID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.Blobs.Delete(ctx, BlobKey(w, id)); err != nil {
		c.Log.WarnContext(ctx, "the bytes of an attachment could not be deleted; the next sweep deletes them", "workspace", w.ID, "attachment", id, "error", err.Error())
	}
}

// Content is the plain bytes of a blob, readable from any offset.
type Content struct {
	*io.SectionReader
	blob blob.Blob
}

// Close ends the reading.
func (c Content) Close() error { return c.blob.Close() }

// watched is a blob that remembers the error of a failed read.
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

// OpenAttachment opens the bytes of an attachment until ctx ends. The caller has checked that they may be read. A damaged part is an error of the
// read that meets it.
func (c *Commands) OpenAttachment(ctx context.Context, w pg.Workspace, a domain.Attachment) (Content, error) {
	content, err := c.openBlob(ctx, w, BlobKey(w, a.ID), a.ID, a.Size)
	if errors.Is(err, blob.ErrMissing) {
		c.Log.WarnContext(ctx, "the bytes of an attachment are missing: it was deleted just now, or they were lost", "workspace", w.ID, "attachment", a.ID)
		return Content{}, domain.Refuse(domain.NotFound, "attachment_content_missing", "the bytes of the attachment are gone: it was deleted, or a backup without them was put back")
	}
	return content, err
}

// openBlob opens the blob of a thing, which must have the given number of plain bytes. The error is blob.ErrMissing when there is no blob.
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
	if err != nil { // somebody changed the stored bytes
		return Content{}, errors.Join(fmt.Errorf("blob %s: %w", key, err), stored.Close())
	}
	return Content{io.NewSectionReader(plain, 0, size), stored}, nil
}

// intake counts and hashes the bytes of an upload as they are read.
type intake struct {
	from  io.Reader
	hash  hash.Hash
	check func(size int64) error // is asked at each read, and may end the upload
	size  int64
	head  []byte // the first headSize bytes, which tell the type
	err   error  // of the sender or of check
}

// headSize is how many bytes of a file mimetype looks at.
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
