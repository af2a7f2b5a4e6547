package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

func TestCatchUp(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	for i := range 3 {
		p.task(t, by, fmt.Sprint(i))
	}
	mark, err := p.CatchUp(minute(t), by.Workspace)
	if err != nil || mark != (Mark{Head: 5, Position: 5, RosterHead: 1, Roster: 1, Shape: Shape, Oldest: Shape}) {
		t.Errorf("%+v, %v", mark, err)
	}
	if d := p.differences(t, by.Workspace); d != "" {
		t.Error(d)
	}
	again, err := p.CatchUp(minute(t), by.Workspace)
	if err != nil || again != mark {
		t.Errorf("with nothing to do: %+v, %v", again, err)
	}
}

// A catch-up that ends with its context keeps its finished pages. One that is killed within a page loses that page alone. The next catch-up goes
// on from there.
func TestCatchUpBrokenOff(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	head := p.bulk(t, by, 1000) + 2
	admin := p.superuser(t)
	position := func() (n int64) {
		if err := admin.QueryRow(t.Context(), `select position from `+w.Schema()+`.checkpoint`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for round := 0; position() < head; round++ {
		ctx, cancel := context.WithTimeout(minute(t), time.Duration(5+20*round)*time.Millisecond)
		var killed sync.WaitGroup
		if round%2 == 1 {
			killed.Go(func() { // any backend of this test that is at work
				time.Sleep(time.Duration(round) * 3 * time.Millisecond)
				p.admin(t, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = 'kluis' and state <> 'idle'`)
			})
		}
		before := position()
		mark, err := p.CatchUp(ctx, w)
		cancel()
		killed.Wait()
		p.settle(t, admin)
		after := position()
		if err == nil && mark.Position != after || after < before {
			t.Errorf("round %d: from %d to %d, with %+v, %v", round, before, after, mark, err)
		}
		if d := p.differences(t, w); d != "" {
			t.Fatalf("round %d, at %d: %s", round, after, d)
		}
		if round > 100 {
			t.Fatalf("it does not end: at %d of %d", after, head)
		}
	}
}

// settle waits until Postgres is done with what a call has sent that ended early: it may commit that yet.
func (p *process) settle(t *testing.T, admin *pgx.Conn) {
	t.Helper()
	for busy := 1; busy > 0; {
		if err := admin.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and usename = 'kluis' and state <> 'idle'`).Scan(&busy); err != nil {
			t.Fatal(err)
		}
	}
}

// Two processes fill their pools with catch-ups while others append. Each event is folded once.
func TestCatchUpsAtOnce(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	q := start(t, p.url, Bound)
	by := p.found(t)
	w := by.Workspace
	p.bulk(t, by, 500)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		writers.Go(func() {
			for j := range 50 {
				p.task(t, by, fmt.Sprint(i, j))
			}
		})
	}
	for i := range 8 {
		from := []*process{p, q}[i%2]
		readers.Go(func() {
			var last int64
			for {
				select {
				case <-stop:
					return
				default:
				}
				mark, err := from.CatchUp(context.Background(), w)
				if err != nil || mark.Position < last {
					t.Errorf("%+v after %d, %v", mark, last, err)
					return
				}
				last = mark.Position
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	mark, err := p.CatchUp(minute(t), w)
	if err != nil || mark.Behind() != 0 || mark.Head != 2+2000+200 {
		t.Errorf("%+v, %v", mark, err)
	}
	if d := p.differences(t, w); d != "" {
		t.Error(d)
	}
}

// An event that cannot be decoded, because a newer Kluis wrote it, stops the read models before it. The error names its position.
func TestUnknownEvent(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	p.task(t, by, "before")
	unknown := eventstore.Write{Stream: "thing-1", Events: []eventstore.Event{{Type: "thing.invented", Data: []byte(`{}`)}}}
	if _, err := p.store.Append(t.Context(), by.Workspace, eventstore.Append{Actor: by.Member, Writes: []eventstore.Write{unknown}}); err != nil {
		t.Fatal(err)
	}
	p.task(t, by, "after")
	_, err := p.CatchUp(minute(t), by.Workspace)
	if err == nil {
		t.Fatal("the catch-up skipped an event that it cannot decode")
	}
	for _, part := range []string{by.Workspace.ID.String(), "position 4", `"thing.invented"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %s", err, part)
		}
	}
	_, _, err = p.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10})
	if err == nil {
		t.Error("a list that cannot be fresh is answered as fresh")
	}
}

// A read shows every event that was committed before the call.
func TestFresh(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	q := start(t, p.url, Bound)
	by := p.found(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 30 {
				writer, reader := p, q
				if j%2 == 1 {
					writer, reader = q, p
				}
				id := writer.task(t, by, fmt.Sprint(i, j))
				task, mark, err := Tasks.Get(context.Background(), reader.Projections, by, id)
				if err != nil || task.Title != fmt.Sprint(i, j) || mark.Behind() != 0 {
					t.Errorf("%+v, %+v, %v", task, mark, err)
				}
			}
		})
	}
	wg.Wait()
}

// Past the bound a read answers with the read models as they are, and the mark says how many events are missing.
func TestFreshIsBounded(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	if _, err := p.CatchUp(minute(t), by.Workspace); err != nil {
		t.Fatal(err)
	}
	events := p.bulk(t, by, 3000)
	short := start(t, p.url, time.Millisecond)
	begun := time.Now()
	_, mark, err := short.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10})
	if took := time.Since(begun); err != nil || mark.Behind() == 0 || mark.Head != events+2 || took > 10*time.Second {
		t.Errorf("with a bound of 1 ms: %+v, %v after %s", mark, err, took)
	}
	for last := mark.Behind(); last > 0; { // each read goes on where the last one ended
		bounded := start(t, p.url, 150*time.Millisecond)
		_, mark, err := bounded.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10})
		if err != nil || mark.Behind() >= last {
			t.Fatalf("%d behind, %d before, %v", mark.Behind(), last, err)
		}
		last = mark.Behind()
	}
	if d := p.differences(t, by.Workspace); d != "" {
		t.Error(d)
	}
}

// While another process holds the checkpoint, no process can fold, and lists answer with the read models as they are. A query on the roster is
// refused when the roster is behind, and only then.
func TestHeldCheckpoint(t *testing.T) {
	t.Parallel()
	first := newProcess(t)
	p, patient := start(t, first.url, 300*time.Millisecond), start(t, first.url, time.Minute)
	by := p.found(t)
	w := by.Workspace
	digest := [32]byte{1, 2, 3}
	if err := p.db.Do(minute(t), w, pg.Exec(`insert into session (id, member_id, digest, expires_at) values ($1, $2, $3, now() + interval '1 hour')`,
		uuid.New(), by.Member, digest[:])); err != nil {
		t.Fatal(err)
	}
	seen := p.task(t, by, "seen")
	if _, err := p.CatchUp(minute(t), w); err != nil {
		t.Fatal(err)
	}
	release := p.hold(t, w)
	p.task(t, by, "not seen yet")
	tasks, mark, err := p.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10})
	if err != nil || len(tasks) != 1 || tasks[0].ID != seen || mark.Behind() != 1 {
		t.Errorf("only tasks are behind: %d tasks, %+v, %v", len(tasks), mark, err)
	}
	begun := time.Now()
	if actor, err := patient.BySession(minute(t), w, digest); err != nil || actor == nil || actor.Role.Name != domain.Admin || time.Since(begun) > 30*time.Second {
		t.Errorf("only tasks are behind, and authentication waits: %+v, %v after %s", actor, err, time.Since(begun))
	}

	p.append(t, w, by.Member, domain.RosterStream, 1, domain.MemberRoleChanged{MemberID: by.Member, Role: "viewer"})
	for name, ask := range map[string]func() error{
		"BySession": func() error { a, err := p.BySession(minute(t), w, digest); return orActor(a, err) },
		"Again":     func() error { a, err := p.Again(minute(t), Actor{Workspace: w}); return orActor(a, err) },
		"ListTasks": func() error { _, _, err := p.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10}); return err },
		"GetTask":   func() error { _, _, err := Tasks.Get(minute(t), p.Projections, by, seen); return err },
		"ListMembers": func() error {
			_, _, err := Members.List(minute(t), p.Projections, by, Page{Limit: 10}, nil)
			return err
		},
		"AccountByEmail": func() error { _, err := p.AccountByEmail(minute(t), w, "x"); return err },
		"Newcomer":       func() error { _, err := p.Newcomer(minute(t), w, by.Member); return err },
		"ListComments": func() error {
			_, _, err := Comments.List(minute(t), p.Projections, by, Page{Limit: 10}, CommentFilter{Task: &seen})
			return err
		},
		"TaskHistory": func() error { _, _, err := Tasks.History(minute(t), p.Projections, by, seen, Place{}, 200); return err },
	} {
		err := ask()
		refusal, ok := domain.Refusal(err)
		if !ok || refusal.Kind != domain.Unavailable || refusal.Code != "catching_up" || refusal.RetryAfter <= 0 {
			t.Errorf("the roster is behind, and %s answers %v", name, err)
		}
	}
	release()
	if actor, err := p.BySession(minute(t), w, digest); err != nil || actor == nil || actor.Role.Name != "viewer" {
		t.Errorf("released: %+v, %v", actor, err)
	}
	if _, mark, err := p.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10}); err != nil || mark.Behind() != 0 {
		t.Errorf("released: %+v, %v", mark, err)
	}
}

// orActor turns an actor that must not be found into an error.
func orActor(a *Actor, err error) error {
	if err == nil && a != nil {
		return fmt.Errorf("answered with role %s", a.Role.Name)
	}
	if err == nil {
		return errors.New("answered with nobody")
	}
	return err
}

// A catch-up that waits for the checkpoint goes on at once when the holder is killed.
func TestHolderIsKilled(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	id := p.task(t, by, "x")
	conn := p.superuser(t)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select * from `+by.Workspace.Schema()+`.checkpoint for update`); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { conn.PgConn().Conn().Close() })
	if _, _, err := Tasks.Get(minute(t), p.Projections, by, id); err != nil {
		t.Error(err)
	}
}

// Statements of a fold are planned once, perhaps while the tables are empty. No page reads a whole table all the same.
func TestFoldsFindRowsByTheirKeys(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	if _, err := p.CatchUp(t.Context(), by.Workspace); err != nil {
		t.Fatal(err)
	}
	p.history(t, by, 4000) // with pages that change tasks of earlier pages
	if mark, err := p.CatchUp(t.Context(), by.Workspace); err != nil || mark.Behind() != 0 {
		t.Fatalf("%+v, %v", mark, err)
	}
	for _, pool := range p.db.Lane(by.Workspace) {
		pool.Reset() // a connection reports its statistics when it ends
	}
	admin := p.superuser(t)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var byKey, all int64
		if err := admin.QueryRow(t.Context(), `select coalesce(idx_tup_fetch, 0), seq_tup_read from pg_stat_user_tables where schemaname = $1 and relname = 'task'`,
			by.Workspace.Schema()).Scan(&byKey, &all); err != nil {
			t.Fatal(err)
		}
		if all > 0 {
			t.Fatalf("%d rows were read in passing", all)
		}
		if byKey > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no row was found by its key")
		}
	}
}
