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
	Position   int64 // the checkpoint: up to here everything is in the read models
	RosterHead int   // the last version of the roster
	Roster     int   // and the one that the read models have
	Shape      int   // of the newest fold that derived them
	Oldest     int   // and of the oldest
	Epoch      int   // of the log
}

// Behind is how many events of the log the read models lack.
func (m Mark) Behind() int64 { return max(0, m.Head-m.Position) }

// statement is the mark, as a statement for any snapshot.
func (m *Mark) statement() pg.Statement {
	return pg.Exec(selectMark, domain.RosterStream).Scan(&m.Position, &m.Roster, &m.Shape, &m.Oldest, &m.Head, &m.RosterHead, &m.Epoch).Light().Common()
}

const selectMark = `select checkpoint.position, roster, shape, oldest, head.position, ` + eventstore.VersionOf + `, head.epoch
	from checkpoint, head, (select $1::text as stream) as s`

// Read runs a query on the read models as they are: one snapshot, one round trip. That is enough for accepting a command, because the
// append guards what was read. The first read of a request also proves its caller.
func (p *Projections) Read(ctx context.Context, w pg.Workspace, query ...pg.Statement) (Mark, error) {
	var m Mark
	claim := ClaimIn(ctx)
	err := p.db.Read(ctx, w, slices.Concat(claim.statements(&m), query)...)
	if err == nil {
		err = p.judge(ctx, claim, m)
	}
	return m, err
}

// Fresh runs a query on read models that have everything that was committed before the call. When they are behind, Fresh catches up first.
// When the time for that runs out, Fresh answers with what there is, and the mark says how many of those events are missing. When events of
// the roster are missing, Fresh refuses with Unavailable, because permissions may have changed.
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
		mark.Head, mark.RosterHead = asked.Head, asked.RosterHead // what came later was not asked for
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

// canAnswerStale tells whether a read may answer although catching up has failed: time ran out, nothing can be written at the moment, or a newer
// kluis has to fold. The read models are right then, only behind.
func canAnswerStale(err error) bool {
	_, outage := pg.OutageOf(err)
	return outage || errors.Is(err, domain.ErrNewer)
}

// catchingUp refuses to answer on read models that are behind.
func catchingUp(m Mark) error {
	r := domain.Refuse(domain.Unavailable, "catching_up", "the read models are %d events behind: ask again", m.Behind())
	r.RetryAfter = time.Second
	return r
}
