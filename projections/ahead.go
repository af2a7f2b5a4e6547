package projections

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
)

// aheadEvents is the largest page of a long catch-up. A large page saves work, because a thing that changes often is loaded and stored once
// for a page.
const aheadEvents = 20_000

// logPage is a page of the log that was read before the transaction that folds it.
type logPage struct {
	records []domain.Record
	last    uuid.UUID // the id of the last event, which proves that the log is still the one that was read
}

// pagesAhead gives the log between two positions in large pages. While a page is in use, the next one is read and decoded on another
// connection.
func (p *Projections) pagesAhead(ctx context.Context, w pg.Workspace, from, upTo int64) iter.Seq2[logPage, error] {
	return func(yield func(logPage, error) bool) {
		next := p.reading(ctx, w, from, upTo)
		for from < upTo {
			page, err := next()
			if err != nil {
				yield(page, err)
				return
			}
			from = page.records[len(page.records)-1].Position
			next = p.reading(ctx, w, from, upTo)
			if !yield(page, nil) {
				break
			}
		}
		_, _ = next() // wait for the page under way, so that no goroutine outlives this one
	}
}

// reading begins to read the page behind a position, up to another one. The returned function waits for that page.
func (p *Projections) reading(ctx context.Context, w pg.Workspace, from, upTo int64) (next func() (logPage, error)) {
	var page logPage
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if from < upTo {
			err = panics.Caught(func() error { page, err = p.readPage(ctx, w, from, upTo); return err })()
		}
	}()
	return func() (logPage, error) { <-done; return page, err }
}

// readPage reads the page behind a position, up to another one.
func (p *Projections) readPage(ctx context.Context, w pg.Workspace, from, upTo int64) (page logPage, err error) {
	row := func(row pgx.CollectableRow) (domain.Record, error) { return decodeRow(row, &page.last) }
	err = p.db.Read(ctx, w, pg.Collect(&page.records, row, `select `+foldColumns+`, id from event
		where position > $4 and position <= `+eventstore.PageEnd+`$4`+eventstore.PageEnds+` order by position`, aheadEvents, eventstore.PageBytes, upTo, from))
	if err == nil && len(page.records) == 0 {
		err = &eventstore.GapError{Want: from + 1}
	}
	return page, err
}

// foldAhead folds large pages up to the head of mark, until end, when the read models are far behind. A page that cannot be read, or that is
// no longer the next one, is left to foldPage, which reads in the transaction that folds.
func (p *Projections) foldAhead(ctx context.Context, w pg.Workspace, mark Mark, end time.Time) (Mark, error) {
	for page, unread := range p.pagesAhead(ctx, w, mark.Position, mark.Head) {
		if unread != nil {
			break
		}
		var done step
		err := p.db.In(ctx, w, func(tx *pg.Tx) (err error) {
			done, err = p.foldRead(ctx, tx, page, time.Until(end))
			return err
		})
		if err != nil {
			return Mark{}, err
		}
		if mark = done.mark; done.events == 0 || time.Now().After(end) {
			break
		}
	}
	return mark, nil
}

// foldRead is foldPage for a page that was read before. Nothing is folded when the page is not the next one, because another process has
// folded or the log went back.
func (p *Projections) foldRead(ctx context.Context, tx *pg.Tx, page logPage, wait time.Duration) (step, error) {
	var mark Mark
	var there bool
	last := page.records[len(page.records)-1]
	err := tx.Run(ctx, append(mark.lock(wait), pg.Exec(`select exists (select from event where position = $1 and id = $2)`, last.Position, page.last).Scan(&there))...)
	switch {
	case err != nil:
		return step{}, err
	case mark.Shape > p.shape:
		return step{}, domain.ErrNewer
	case !there || page.records[0].Position != mark.Position+1:
		mark.RosterHead = mark.Roster
		return step{mark: mark}, nil
	}
	return p.foldRecords(ctx, tx, page.records, mark)
}
