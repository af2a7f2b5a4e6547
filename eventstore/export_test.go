package eventstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// SetGrace shortens the time for handlers that are at work when the context ends.
func (s *Signals) SetGrace(d time.Duration) { s.grace = d }

// Query gives the text and the arguments of Newest.
func (f Filter) Query(limit int) (sql string, args []any) { return f.plan(limit, newest) }

// SetBeat sets how often a process shows a sign of life while a handler is at work, and after how long a silent process loses the lock.
func (s *Signals) SetBeat(beat, idle time.Duration) { s.beat, s.idle = beat, idle }

// Cost is the work of one look for signals.
type Cost struct {
	Found int
	Pages int
	Took  time.Duration
}

// Look looks for signals, as a subscriber does, in a transaction that does not end.
func Look(ctx context.Context, conn *pgx.Conn) (Cost, error) {
	if _, err := conn.Exec(ctx, `begin`); err != nil {
		return Cost{}, err
	}
	if _, err := conn.Exec(ctx, beginLook, "60000"); err != nil {
		return Cost{}, err
	}
	query := (&signalTable{}).SelectQuery("", "", nil)
	var text []byte
	if err := conn.QueryRow(ctx, `explain (analyze, buffers, format json) `+query.Query, query.Args...).Scan(&text); err != nil {
		return Cost{}, err
	}
	var explained []struct {
		Plan struct {
			Rows int `json:"Actual Rows"`
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
		Milliseconds float64 `json:"Execution Time"`
	}
	if err := json.Unmarshal(text, &explained); err != nil {
		return Cost{}, err
	}
	e := explained[0]
	return Cost{e.Plan.Rows, e.Plan.Hit + e.Plan.Read, time.Duration(e.Milliseconds * float64(time.Millisecond))}, nil
}

// AppendWithin appends with ctx in place of the writer's own patience.
func (s *Store) AppendWithin(ctx context.Context, w pg.Workspace, a Append) error {
	r := &request{append: a, ids: a.newIDs(), turn: make(chan turn, 1)}
	(&writer{store: s, workspace: w}).writeWithin(ctx, []*request{r})
	<-r.turn
	return r.err
}

// RecordColumns are the columns of a record.
const RecordColumns = recordColumns
