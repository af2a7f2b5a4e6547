package projections

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Attachments is the read model of the attachments. A caller sees an attachment only when the caller sees its task.
var Attachments = newNoun(
	newModel("attachment", domain.AttachmentStream, ofKind("attachment"), (*domain.Attachment).Apply, func(a domain.Attachment) uuid.UUID { return a.ID }),
	Sight{Read: domain.ReadAttachment, Own: `attachment.created_by = $2`, Gone: `attachment.deleted_at`,
		Within: within(Tasks, `attachment.task_id`)},
	Lists{Filter: AttachmentFilter{}, Sorts: []Sorting{{Field: "created_at"}, {Field: "name"}, {Field: "size"}}})

// AttachmentFilter chooses the attachments of a task.
type AttachmentFilter struct {
	Task *uuid.UUID `where:"attachment.task_id = @"`
}

var storageStream, storageOf = inStream(domain.StorageStream, func(domain.Record) (uuid.UUID, bool) { return domain.StorageID, true })

// Storages is the read model of the bytes that a workspace keeps: one row, or none before the first attachment.
var Storages = newModel("storage", storageStream, storageOf, (*domain.Storage).Apply, func(s domain.Storage) uuid.UUID { return s.ID })

// LoadStorage is the query for a decision on the storage.
func LoadStorage(into *[]domain.Storage) pg.Statement {
	return pg.Rows(into, `select id, bytes, version, position from storage`)
}

// Need says whether the bytes of an attachment are needed. Neither field is set for an id that the log does not know.
type Need struct {
	Kept bool // the attachment exists, or is not in the read models yet
	Gone bool // the attachment was deleted
}

// Needs tells which of these attachments exist, and which were deleted.
func (p *Projections) Needs(ctx context.Context, w pg.Workspace, ids []uuid.UUID) (map[uuid.UUID]Need, error) {
	var rows []struct {
		ID uuid.UUID
		Need
	}
	err := p.db.Read(ctx, w, pg.Rows(&rows, `select blob.id, coalesce(attachment.deleted_at is null and attachment.id is not null, false)
			or attachment.id is null and exists (select from event where stream = 'attachment-' || blob.id::text) as kept,
			coalesce(attachment.deleted_at is not null, false) as gone
		from unnest($1::uuid[]) as blob (id) left join attachment on attachment.id = blob.id`, ids))
	if err != nil {
		return nil, fmt.Errorf("look up attachments: %w", err)
	}
	needs := map[uuid.UUID]Need{}
	for _, row := range rows {
		needs[row.ID] = row.Need
	}
	return needs, nil
}
