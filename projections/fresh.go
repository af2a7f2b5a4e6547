package projections

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Mark says how far the read models were behind the log when something was read.
type Mark struct {
	Head       int64 // the last position of the log
	Position   int64 // the checkpoint: the read models have every event up to here
	RosterHead int   // the last version of the roster
	Roster     int   // the version of the roster in the read models
	Shape      int   // of the newest fold that wrote rows
	Oldest     int   // of the oldest fold that wrote rows
	Epoch      int   // of the log
}

// Behind is how many events of the log the read models lack.
func (m Mark) Behind() int64 { return max(0, m.Head-m.Position) }

// statement gives the statement that reads the mark, for any snapshot.
func (m *Mark) statement() pg.Statement {
	return pg.Exec(selectMark, domain.RosterStream).Scan(&m.Position, &m.Roster, &m.Shape, &m.Oldest, &m.Head, &m.RosterHead, &m.Epoch).Light().Common()
}

const selectMark = `select checkpoint.position, roster, shape, oldest, head.position, ` + eventstore.VersionOf + `, head.epoch
	from checkpoint, head, (select $1::text as stream) as s`

// Read runs a query on the read models as they are: one snapshot, one round trip. That is enough for a command, because the append guards the
// versions that were read. The first read of a request also proves its claim.
func (p *Projections) Read(ctx context.Context, w pg.Workspace, query ...pg.Statement) (Mark, error) {
	var m Mark
	claim := ClaimIn(ctx)
	err := p.db.Read(ctx, w, slices.Concat(claim.statements(&m), query)...)
	if err == nil {
		err = p.judge(ctx, claim, m)
	}
	return m, err
}

// Fresh runs a query on read models that have every event committed before the call:
//
//  1. When the read models are behind, Fresh catches up first.
//  2. When the time for that runs out, Fresh answers with the read models as they are, and the mark says how many events are missing.
//  3. When events of the roster are missing, Fresh refuses with Unavailable instead, because permissions may have changed.
func (p *Projections) Fresh(ctx context.Context, w pg.Workspace, query ...pg.Statement) (Mark, error) {
	asked, err := p.Read(ctx, w, query...)
	if err != nil || asked.Behind() == 0 {
		return asked, err
	}
	mark := asked
	for end := time.Now().Add(p.bound); ; {
		failed := error(domain.ErrNewer)
		if mark.Shape <= p.shape {
			_, failed = p.catchUp(ctx, w, max(time.Until(end), 0))
		}
		if mark, err = p.Read(ctx, w, query...); err != nil {
			return mark, err
		}
		mark.Head, mark.RosterHead = asked.Head, asked.RosterHead // events after the call do not count as missing
		if mark.Behind() == 0 {
			return mark, nil
		}
		if failed != nil && !canAnswerStale(failed) {
			return mark, failed
		}
		if o, _ := pg.OutageOf(failed); o == pg.ReadOnlyNow || o == pg.Full || time.Now().After(end) {
			break
		}
		if errors.Is(failed, domain.ErrNewer) {
			p.awaitNewer(ctx, w, end)
		}
	}
	if mark.Roster < mark.RosterHead {
		return mark, catchingUp(mark)
	}
	return mark, nil
}

// canAnswerStale tells whether a read may answer after a failed catch-up: when the time ran out, when nothing can be written at present, or when
// only a newer Kluis can fold. In these cases the read models are behind, but right.
func canAnswerStale(err error) bool {
	_, outage := pg.OutageOf(err)
	return outage || errors.Is(err, domain.ErrNewer)
}

// catchingUp refuses an answer, because the read models are behind.
func catchingUp(m Mark) error {
	r := domain.Refuse(domain.Unavailable, "catching_up", "the read models are %d events behind: ask again", m.Behind())
	r.RetryAfter = time.Second
	return r
}
