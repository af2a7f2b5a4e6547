package projections

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Snapshot is a workspace at one position of its log: read models and records. Later events are not in it.
type Snapshot struct {
	UpTo  int64 // of the log, and of every row
	Head  eventstore.Head
	tx    *pg.Tx
	batch int
}

// StoredRow is a row of a read model.
type StoredRow struct {
	ID    uuid.UUID
	State any // of package domain
}

// snapshotPage is how many rows are in memory at once.
const snapshotPage = 200

// Snapshot runs fn on a workspace at one position, which is asked or a later one. It holds one connection as long as fn runs.
func (p *Projections) Snapshot(ctx context.Context, w pg.Workspace, asked int64, fn func(*Snapshot) error) error {
	for {
		mark, err := p.CatchUp(ctx, w)
		if err != nil {
			return err
		}
		if mark.Position >= asked {
			break
		}
	}
	return p.db.Snapshot(ctx, w, func(tx *pg.Tx) error {
		s := &Snapshot{tx: tx, batch: snapshotPage}
		var mark Mark
		err := tx.Run(ctx, mark.statement(), eventstore.LookHead(&s.Head),
			pg.Exec(`set local statement_timeout = '5min'`), pg.Exec(`set local idle_in_transaction_session_timeout = '10min'`))
		if err != nil {
			return err
		}
		if mark.Shape > p.shape {
			return domain.ErrNewer
		}
		s.UpTo = mark.Position
		return fn(s)
	})
}

// Run runs statements on the snapshot.
func (s *Snapshot) Run(ctx context.Context, statements ...pg.Statement) error {
	return s.tx.Run(ctx, statements...)
}

// Tables gives the read models of a snapshot, in order: all but Search, which is derived from the others.
func Tables() (names []string) {
	for _, m := range models {
		if m.table() != Search.table() {
			names = append(names, m.table())
		}
	}
	return names
}

// Columns gives the columns of a read model, in the order of its JSON.
func Columns(table string) []string {
	for _, m := range models {
		if m.table() == table {
			return m.names()
		}
	}
	return nil
}

// Each gives fn every row of a read model, in the order of ids, a page at a time.
func (s *Snapshot) Each(ctx context.Context, table string, fn func([]StoredRow) error) error {
	for _, m := range models {
		if m.table() != table {
			continue
		}
		for from := uuid.Nil; ; {
			rows, err := m.stored(ctx, s.tx, from, s.batch)
			if err != nil || len(rows) == 0 {
				return err
			}
			if err := fn(rows); err != nil {
				return err
			}
			from = pg.NextID(rows[len(rows)-1].ID)
		}
	}
	return fmt.Errorf("there is no read model %s", table)
}

func (m *Model[T]) names() []string { return m.columns }

// stored gives the rows from an id on.
func (m *Model[T]) stored(ctx context.Context, tx *pg.Tx, from uuid.UUID, limit int) ([]StoredRow, error) {
	var states []T
	//sqlcheck:allow made once, of the names in our own struct
	if err := tx.Run(ctx, pg.Rows(&states, m.pages, from, limit)); err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", m.name, err)
	}
	rows := make([]StoredRow, len(states))
	for i, state := range states {
		rows[i] = StoredRow{m.id(state), state}
	}
	return rows, nil
}

// Log gives fn every record up to the position of the snapshot, the oldest first, a page at a time.
func (s *Snapshot) Log(ctx context.Context, fn func([]Record) error) error {
	for next := s.Head.Pruned + 1; next <= s.UpTo; {
		var records []Record
		if err := s.tx.Run(ctx, eventstore.After(&records, next-1)); err != nil {
			return fmt.Errorf("read the log behind position %d: %w", next-1, err)
		}
		for i, r := range records {
			if r.Position != next {
				return &eventstore.GapError{Want: next, Got: r.Position}
			}
			if next++; r.Position == s.UpTo {
				return fn(records[:i+1])
			}
		}
		if len(records) == 0 {
			return &eventstore.GapError{Want: next}
		}
		if err := fn(records); err != nil {
			return err
		}
	}
	return nil
}

// AttachmentsAt answers with a page of the attachments that existed at a position, behind an id. It includes attachments that were deleted since,
// whose bytes are gone.
func (p *Projections) AttachmentsAt(ctx context.Context, w pg.Workspace, upTo int64, after uuid.UUID) (found []domain.Attachment, err error) {
	//sqlcheck:allow the names in our own struct
	err = p.db.Read(ctx, w, pg.Rows(&found, `select `+Attachments.columnList()+` from attachment where id > $2 and (deleted_at is null or position > $1)
		and not exists (select from event where stream = 'attachment-' || attachment.id::text and version = 1 and event.position > $1)
		order by id limit $3`, upTo, after, snapshotPage))
	return found, err
}
