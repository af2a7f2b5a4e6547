package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// shape gives the definition of a workspace's tables: columns, indexes, constraints, owners and rights.
func (p *process) shape(t testing.TB, w pg.Workspace) []string {
	t.Helper()
	rows, _ := p.superuser(t).Query(context.Background(), `
		select format('%s.%s %s null:%s default:%s', table_name, column_name, data_type, is_nullable, column_default) from information_schema.columns where table_schema = $1
		union all select replace(indexdef, $1, 'w') from pg_indexes where schemaname = $1
		union all select format('%s: %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint where connamespace = $1::text::regnamespace
		union all select format('%s of %s: %s', c.relname, pg_get_userbyid(relowner), (select string_agg(x.privilege_type || ' to ' || pg_get_userbyid(x.grantee), ', ' order by 1) from aclexplode(relacl) x))
			from pg_class c where relnamespace = $1::text::regnamespace and relkind in ('r', 'S', 'v')
		order by 1`, w.Schema())
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], w.Schema(), "w")
	}
	slices.Sort(lines)
	return lines
}

func (p *process) hasShadow(t testing.TB, w pg.Workspace) (there bool) {
	t.Helper()
	if err := p.superuser(t).QueryRow(context.Background(), `select exists (select from pg_namespace where starts_with(nspname, $1))`, pg.Shadow{Workspace: w}.Schema()).Scan(&there); err != nil {
		t.Fatal(err)
	}
	return there
}

func (p *process) rebuild(t testing.TB, w pg.Workspace) int64 {
	t.Helper()
	events, err := p.Rebuild(minute(t), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func (p *process) drift(t testing.TB, w pg.Workspace) []Drift {
	t.Helper()
	drifts, err := p.Check(minute(t), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return drifts
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	want := p.bulk(t, by, aheadEvents/4+500) + 2 // two pages
	shape := p.shape(t, w)
	var told []int64
	events, err := p.Rebuild(minute(t), w, func(position, of int64) {
		if of != want {
			t.Errorf("%d of %d, want of %d", position, of, want)
		}
		told = append(told, position)
	})
	if err != nil || events != want || len(told) < 2 || told[len(told)-1] != want || !slices.IsSorted(told) {
		t.Errorf("%d events, want %d, %v; progress %d", events, want, err, told)
	}
	if d := p.differences(t, w); d != "" {
		t.Error(d)
	}
	if p.hasShadow(t, w) {
		t.Error("the shadow schema was not dropped")
	}
	if got := p.shape(t, w); !slices.Equal(got, shape) {
		t.Errorf("the tables have changed. They are\n%s\nand were\n%s", strings.Join(got, "\n"), strings.Join(shape, "\n"))
	}
	p.rebuild(t, w) // a second rebuild works as well
	id := p.task(t, by, "afterwards")
	if task, mark, err := Tasks.Get(minute(t), p.Projections, by, id); err != nil || task.Title != "afterwards" || mark.Position != want+1 {
		t.Errorf("%+v, %+v, %v", task, mark, err)
	}
	if d := p.drift(t, w); d != nil {
		t.Errorf("drift %v", d)
	}
}

// For each kind of wrong row a check names the table and the number of rows, and a rebuild repairs them.
func TestDrift(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	p.bulk(t, by, 20)
	if _, err := p.CatchUp(minute(t), w); err != nil {
		t.Fatal(err)
	}
	if d := p.drift(t, w); d != nil {
		t.Errorf("at first: %v", d)
	}
	for sql, want := range map[string]string{
		`update task set title = 'forged' where id = (select min(id::text)::uuid from task)`:    "[{task 1}]",
		`update task set assignee_ids = '{}' where id = (select min(id::text)::uuid from task)`: "[{task 1}]",
		`update task set position = position + 1`:                                               "[{task 20}]",
		`delete from task where id = (select min(id::text)::uuid from task)`:                    "[{task 1}]",
		`delete from comment`: "[{comment 20}]",
		`insert into comment select gen_random_uuid(), task_id, parent_id, body, mention_ids, created_by, created_at, updated_at, deleted_at, version, position from comment limit 3`: "[{comment 3}]",
		`update member set role = 'viewer'`:                                      "[{member 1}]",
		`update workspace set plan = 'enterprise'; delete from task`:             "[{workspace 1} {task 20}]",
		`update checkpoint set roster = 0`:                                       "[{checkpoint 1}]",
		`update task set completed_at = completed_at + interval '1 microsecond'`: "[{task 20}]",
	} {
		p.admin(t, `set search_path = `+w.Schema()+`; `+sql)
		if got := fmt.Sprint(p.drift(t, w)); got != want {
			t.Errorf("after %s: drift %s, want %s", sql, got, want)
		}
		if got := fmt.Sprint(p.drift(t, w)); got != want {
			t.Errorf("after %s, again: drift %s: the check changed something", sql, got)
		}
		p.rebuild(t, w)
		if d := p.drift(t, w); d != nil {
			t.Errorf("after %s and a rebuild: drift %v", sql, d)
		}
	}
	if d := p.differences(t, w); d != "" {
		t.Error(d)
	}
}

// Only one process rebuilds a workspace at a time, and the second one gets ErrRebuilding. Another workspace can be rebuilt meanwhile.
func TestRebuildTwice(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	q := start(t, p.url, Bound)
	by, other := p.found(t), p.found(t)
	p.bulk(t, by, aheadEvents/4+500)
	var second, elsewhere error
	_, err := p.Rebuild(minute(t), by.Workspace, func(position, of int64) {
		if position < of && second == nil {
			_, second = q.Rebuild(minute(t), by.Workspace, nil)
			_, elsewhere = q.Rebuild(minute(t), other.Workspace, nil)
		}
	})
	if err != nil || elsewhere != nil || !errors.Is(second, ErrRebuilding) {
		t.Errorf("first %v, second %v, of another workspace %v", err, second, elsewhere)
	}
	if d := p.drift(t, by.Workspace); d != nil {
		t.Errorf("drift %v", d)
	}
}

// A migration and a rebuild of a workspace exclude each other, because the shadow would lack the migration's changes.
func TestRebuildKeepsMigrationsOff(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	p.bulk(t, by, 100)
	migrate := func() error { // takes the lock with which a migration begins
		return p.db.Control(minute(t), func(tx pgx.Tx) error {
			_, err := tx.Exec(minute(t), `select from kluis.workspace where id = $1 for update nowait`, by.Workspace.ID)
			return err
		})
	}
	var meanwhile error
	if _, err := p.Rebuild(minute(t), by.Workspace, func(int64, int64) { meanwhile = migrate() }); err != nil {
		t.Fatal(err)
	}
	if !pg.Is(meanwhile, pg.LockNotAvailable) {
		t.Errorf("a migration meanwhile: %v", meanwhile)
	}
	if err := migrate(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A rebuild that is killed at any moment leaves the tables as they were, and the next rebuild begins again.
func TestRebuildKilled(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	p.bulk(t, by, 1000)
	p.rebuild(t, w)
	begun := time.Now()
	p.rebuild(t, w)
	took := time.Since(begun)
	killed := 0
	for round := range 10 {
		ctx, cancel := context.WithCancel(minute(t))
		doomed := start(t, p.url+"&application_name=doomed", Bound)
		var kill sync.WaitGroup
		kill.Go(func() {
			time.Sleep(took * time.Duration(round+1) / 12)
			if round%2 == 0 {
				cancel()
			} else {
				p.admin(t, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'doomed' and datname = current_database()`)
			}
		})
		_, err := doomed.Rebuild(ctx, w, nil)
		kill.Wait()
		cancel()
		if err != nil {
			killed++
		}
		if d := p.differences(t, w); d != "" {
			t.Fatalf("round %d, after %v: %s", round, err, d)
		}
		if round%4 == 3 {
			p.rebuild(t, w)
			if p.hasShadow(t, w) {
				t.Error("a shadow schema is left")
			}
		}
	}
	t.Logf("%d of 10 were killed in time", killed)
	if killed < 3 {
		t.Errorf("only %d of 10 were killed in time", killed)
	}
	if d := p.drift(t, w); d != nil {
		t.Errorf("drift %v", d)
	}
}

// During repeated rebuilds the reads and appends of two processes go on. None fails, and for no client do positions, or the number of tasks, ever
// go back.
func TestRebuildUnderLoad(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	q := start(t, p.url, Bound)
	by := p.found(t)
	w := by.Workspace
	p.bulk(t, by, 1500)
	if _, err := p.CatchUp(minute(t), w); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var reads, slow atomic.Int64
	for i := range 4 {
		from := []*process{p, q}[i%2]
		clients.Go(func() {
			var last Mark
			var lastCount int
			for {
				select {
				case <-stop:
					return
				default:
				}
				var count int
				begun := time.Now()
				mark, err := from.Fresh(context.Background(), w, pg.Exec(`select count(*) from task`).Scan(&count))
				if took := time.Since(begun); took > 100*time.Millisecond {
					slow.Add(1)
				}
				if err != nil {
					t.Errorf("a read fails: %v", err)
					return
				}
				if mark.Position < last.Position || mark.Head < last.Head || count < lastCount || mark.Roster != 1 || mark.Behind() != 0 {
					t.Errorf("%+v with %d tasks, after %+v with %d", mark, count, last, lastCount)
				}
				last, lastCount = mark, count
				reads.Add(1)
			}
		})
	}
	for i := range 2 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := []*process{p, q}[i].task(t, by, fmt.Sprint(n))
				if _, _, err := Tasks.Get(context.Background(), []*process{q, p}[i].Projections, by, id); err != nil {
					t.Errorf("a task just made: %v", err)
				}
			}
		})
	}
	rebuilds, checks := 0, 0
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end) || rebuilds < 3; {
		if _, err := p.Rebuild(minute(t), w, nil); err != nil {
			t.Errorf("rebuild: %v", err)
		}
		rebuilds++
		if drifts, err := q.Check(minute(t), w, nil); err != nil || drifts != nil {
			t.Errorf("check: %v, %v", drifts, err)
		}
		checks++
	}
	close(stop)
	clients.Wait()
	t.Logf("%d rebuilds, %d checks, %d reads, %d of them over 100 ms", rebuilds, checks, reads.Load(), slow.Load())
	if d := p.differences(t, w); d != "" {
		t.Error(d)
	}
	if d := p.drift(t, w); d != nil {
		t.Errorf("drift %v", d)
	}
}

// A small log is rebuilt so fast that reads from before the rebuild end after it.
func TestRebuildSmallUnderLoad(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	id := p.task(t, by, "x")
	if _, err := p.CatchUp(minute(t), w); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, mark, err := Tasks.Get(context.Background(), p.Projections, by, id); err != nil || mark.Position != 3 {
					t.Errorf("%+v, %v", mark, err)
					return
				}
				if mark, err := p.Read(context.Background(), w); err != nil || mark.Position > 3 {
					t.Errorf("%+v, %v", mark, err)
					return
				}
			}
		})
	}
	n := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && !t.Failed(); n++ {
		if _, err := p.Rebuild(minute(t), w, nil); err != nil {
			t.Errorf("rebuild %d: %v", n, err)
		}
	}
	close(stop)
	clients.Wait()
	t.Logf("%d rebuilds", n)
}

// A long read delays a rebuild, and a rebuild delays no reads. Other reads go on meanwhile. The rebuild ends after the long read, or its error says
// on what it waited.
func TestRebuildBehindLongRead(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	id := p.task(t, by, "x")
	if _, err := p.CatchUp(minute(t), w); err != nil {
		t.Fatal(err)
	}
	long := make(chan error, 1)
	go func() {
		_, err := p.Read(context.Background(), w, pg.Exec(`select pg_sleep(2)`))
		long <- err
	}()
	time.Sleep(200 * time.Millisecond)
	done := make(chan error, 1)
	go func() { _, err := p.Rebuild(context.Background(), w, nil); done <- err }()
	var worst time.Duration
	for rebuilt := false; !rebuilt; {
		select {
		case err := <-done:
			rebuilt = true
			if err != nil {
				t.Errorf("rebuild: %v", err)
			}
		default:
		}
		begun := time.Now()
		if _, _, err := Tasks.Get(minute(t), p.Projections, by, id); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(begun))
		time.Sleep(10 * time.Millisecond)
	}
	if err := <-long; err != nil {
		t.Errorf("the long read: %v", err)
	}
	t.Logf("the slowest read took %s", worst)
	if worst > time.Second {
		t.Errorf("behind a read of 2 s and a rebuild, another read took %s", worst)
	}
}
