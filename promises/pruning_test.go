package promises

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/projections"
)

// rows is how many rows of a table a condition holds for.
func (c *client) rows(t testing.TB, from string) (n int) {
	t.Helper()
	c.query(t, pg.Exec(`select count(*) from `+from).Scan(&n)) //sqlcheck:allow a test's own
	return n
}

// asSuperuser runs statements of whoever owns the database, where the schemas are those of workspaces in turn: WS0, WS1.
func (p *process) asSuperuser(t testing.TB, sql string, of ...*client) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.Superuser(t, p.site.url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for i, c := range of {
		sql = strings.ReplaceAll(sql, fmt.Sprint("WS", i), c.workspace.Schema())
	}
	if _, err := conn.Exec(t.Context(), "set search_path = "+of[0].workspace.Schema()+"; "+sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// marks are the checkpoints of a workspace that lie outside the database.
func (c *client) marks(t testing.TB) (marks []eventstore.Mark) {
	t.Helper()
	for _, kept := range must(c.site.kept.All(t.Context(), c.workspace.ID)) {
		marks = append(marks, eventstore.Mark{Name: "kept", Checkpoint: must(checkpoint.Open(kept, c.keys.PublicKeys()))})
	}
	return marks
}

var errBrokenOff = errors.New("broken off")

// Broken off behind whichever step, a pruning has not begun, or is told of in the log; the workspace verifies, shows what it showed, and goes
// on; and the next pruning comes to the end.
func TestPruningBrokenOffAtEachStep(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	task := ada.newTask(t)
	ada.agree(t)
	horizon := ada.head(t)
	shown := string(ada.call(t, "GET", taskPath(task), nil).want(t, 200).body)
	steps := strings.Fields("kept verified stored compared pruned baselines keys answers records")
	for i, last := range steps {
		var told []string
		_, err := p.commands.Prune(t.Context(), ada.workspace, commands.Hearer{Step: func(step string) error {
			told = append(told, step)
			if step == last {
				return errBrokenOff
			}
			return nil
		}})
		if !errors.Is(err, errBrokenOff) {
			t.Fatalf("broken off behind %s: %v; it told %v", last, err, told)
		}
		ada.verifies(t, ada.marks(t)...)
		if after := string(ada.call(t, "GET", taskPath(task), nil).want(t, 200).body); after != shown {
			t.Errorf("broken off behind %s, the task is %s", last, after)
		}
		var pruned int64
		ada.query(t, pg.Exec(`select pruned from head`).Scan(&pruned))
		if begun := i >= slices.Index(steps, "pruned"); begun && pruned != horizon || !begun && pruned != 0 {
			t.Errorf("broken off behind %s, the horizon is %d", last, pruned)
		}
	}
	if left := ada.rows(t, "event where position <= (select pruned from head)"); left != 0 {
		t.Errorf("%d records are left", left)
	}
	if again := ada.prune(t); again.Events != 0 || again.Deleted != 0 {
		t.Errorf("it has something to go on with: %+v", again)
	}
	ada.call(t, "PATCH", taskPath(task), object{"title": "goes on"}).want(t, 200)
	ada.noDrift(t)
}

// Two processes prune, again and again, while others write: nothing that was answered is missing, the versions of things go on from where they
// were, and the workspace verifies.
func TestPruningUnderLoad(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	const writers, changes = 4, 15
	var tasks []domain.Task
	for range writers {
		tasks = append(tasks, ada.newTask(t))
	}
	ada.agree(t)
	var writing, pruning sync.WaitGroup
	var written, deleted atomic.Int64
	for i, task := range tasks {
		writing.Go(func() {
			for n := range changes {
				ada.on(p[i%2]).call(t, "PATCH", taskPath(task), object{"title": fmt.Sprint(n)}).want(t, 200)
				written.Add(1)
			}
		})
	}
	for _, process := range p {
		pruning.Go(func() {
			for last := false; !last; {
				last = written.Load() == writers*changes || t.Failed()
				done, err := process.commands.Prune(t.Context(), ada.workspace, commands.Hearer{})
				if err != nil && !errors.Is(err, projections.ErrRebuilding) && !errors.Is(err, projections.ErrPruned) {
					t.Errorf("prune: %v", err)
					return
				}
				deleted.Add(done.Deleted)
				ada.must(t, `update reaction set position = checkpoint.position from checkpoint`)
			}
		})
	}
	writing.Wait()
	pruning.Wait()
	if deleted.Load() == 0 {
		t.Error("nothing was pruned")
	}
	for _, task := range tasks {
		is := decode[domain.Task](t, ada.call(t, "GET", taskPath(task), nil).want(t, 200))
		if is.Version != changes+1 || is.Title != fmt.Sprint(changes-1) {
			t.Errorf("version %d, title %q", is.Version, is.Title)
		}
	}
	ada.log(t)
	ada.verifies(t, ada.marks(t)...)
}

// A legal hold that is placed while a pruning is under way wins, as long as the log does not say that it was pruned; so does a plan that keeps
// events for longer. With the hold nothing is due; once it is lifted, everything that was.
func TestHoldWhilePruning(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	ada.newTask(t)
	ada.agree(t)
	records := ada.rows(t, "event")
	meanwhile := func(at string, do func() error) {
		t.Helper()
		_, err := p.commands.Prune(t.Context(), ada.workspace, commands.Hearer{Step: func(step string) error {
			if step == at {
				return do()
			}
			return nil
		}})
		if err == nil || !strings.Contains(err.Error(), "came meanwhile") {
			t.Errorf("pruned in spite of what came behind %q: %v", at, err)
		}
		records++
		if is := ada.rows(t, "event"); is != records {
			t.Errorf("%d records, not %d", is, records)
		}
	}
	meanwhile("stored", func() error { return p.commands.OperatorHold(t.Context(), ada.workspace, "a trial") })
	if due, err := p.commands.DuePruning(t.Context(), ada.workspace); err != nil || due.Events != 0 {
		t.Errorf("due in spite of the hold: %+v, %v", due, err)
	}
	if done := ada.prune(t); done.Deleted != 0 {
		t.Errorf("pruned in spite of the hold: %+v", done)
	}
	if err := p.commands.OperatorUnhold(t.Context(), ada.workspace); err != nil {
		t.Fatal(err)
	}
	records++
	meanwhile("verified", func() error {
		_, err := p.commands.OperatorPlan(t.Context(), ada.workspace, "enterprise", nil)
		return err
	})
	ada.agree(t)
	if done := ada.prune(t); done.Deleted != int64(records)+1 {
		t.Errorf("%+v, want %d", done, records+1)
	}
	ada.verifies(t)
}

// What differs from what the log would make without the old records is no reason to delete them: a row that was changed, a baseline that was,
// a record. Nothing goes, and what is said names it. Once it is mended, the same pruning does.
func TestPruningRefuses(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	task := ada.newTask(t)
	ada.agree(t)
	refused := func(sql, undo, says string) {
		t.Helper()
		before := ada.rows(t, "event")
		p.asSuperuser(t, sql, ada)
		if done, err := p.commands.Prune(t.Context(), ada.workspace, commands.Hearer{}); err == nil || !strings.Contains(err.Error(), "nothing was pruned") || !strings.Contains(err.Error(), says) {
			t.Errorf("after %s: %+v, %v", sql, done, err)
		}
		if after := ada.rows(t, "event"); after != before {
			t.Errorf("after %s there are %d records, not %d", sql, after, before)
		}
		p.asSuperuser(t, undo, ada)
	}
	refused(`create table kept as table task; update task set title = 'forged'`, `update task set title = kept.title from kept; drop table kept`, "1 rows of task")
	refused(`create table kept as table member; delete from member`, `insert into member select * from kept; drop table kept`, "1 rows of member")
	refused(`create table kept as select * from event where position = 2; update event set data = '{}' where position = 2`,
		`update event set data = kept.data from kept where event.position = 2; drop table kept`, "position 2: changed")
	ada.prune(t)
	ada.call(t, "PATCH", taskPath(task), object{"title": "another name"}).want(t, 200)
	ada.age(t)
	refused(`create table kept as table baseline; update baseline set state = replace(state::text, '"open"', '"done"')::json; update task set description = 'forged'`,
		`delete from baseline; insert into baseline select * from kept; drop table kept; update task set description = ''`, "the baselines of the records that were pruned are not those")
	if done := ada.prune(t); done.Deleted == 0 {
		t.Errorf("%+v", done)
	}
	ada.verifies(t)
}

// Whatever whoever owns the database does to a log that was pruned is named, also when the tree is made to fit, by checkpoints that lie elsewhere.
func TestTamperingBehindTheHorizon(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada, eve := p.signUp(t), p.signUp(t)
	each := func(sql string) (all string) {
		for _, table := range strings.Fields("event head tree tile baseline") {
			all += strings.ReplaceAll(sql, "TABLE", table)
		}
		return all
	}
	p.asSuperuser(t, each(`create table WS0.kept_TABLE as table WS0.TABLE;`)+each(`create table WS0.old_TABLE as table WS0.TABLE;`), ada)
	keep := each(`truncate WS0.kept_TABLE; insert into WS0.kept_TABLE select * from WS0.TABLE;`)
	back := each(`truncate WS0.TABLE; insert into WS0.TABLE select * from WS0.kept_TABLE;`)
	var m int64
	for _, c := range []*client{eve, ada} {
		task := c.newTask(t)
		c.agree(t)
		if c == ada {
			p.asSuperuser(t, each(`truncate WS0.old_TABLE; insert into WS0.old_TABLE select * from WS0.TABLE;`), ada)
		}
		m = c.prune(t).UpTo
		for i := range 6 {
			c.call(t, "PATCH", taskPath(task), object{"title": fmt.Sprint("name ", i)}).want(t, 200)
		}
		if _, _, err := c.commands.KeepCheckpoint(t.Context(), c.workspace); err != nil {
			t.Fatal(err)
		}
	}
	marks := ada.marks(t)
	ada.verifies(t, marks...)
	p.asSuperuser(t, keep, ada)
	at := func(sql string) string {
		for i := range 9 {
			sql = strings.ReplaceAll(sql, fmt.Sprint("M+", i), fmt.Sprint(m+int64(i)))
		}
		return sql
	}
	for _, attack := range []struct {
		name, sql string
		kind      eventstore.FindingKind
	}{
		{"a record changed", `update event set data = replace(data::text, 'name', 'nome')::json where position = M+4`, eventstore.Changed},
		{"a record deleted", `delete from event where position = M+4`, eventstore.Missing},
		{"a record inserted", `update event set position = -position where position > M+3; update event set position = 1 - position where position < 0;
			insert into event (position, id, stream, version, type, at, data) select M+4, gen_random_uuid(), 'task-x', 1, 'task.done', at, '{}' from event where position = M+3`, eventstore.Inserted},
		{"two records reordered", `update event set position = -1 where position = M+3; update event set position = M+3 where position = M+4; update event set position = M+4 where position = -1`, eventstore.Reordered},
		{"the first deleted", `delete from event where position = M+1`, eventstore.Missing},
		{"more as if it were pruned", `delete from event where position <= M+3; update head set pruned = M+3`, eventstore.CutHead},
		{"less as if it were pruned", `update head set pruned = M+0 - 1`, eventstore.Missing},
		{"the tail", `delete from event where position > M+4; update head set position = M+4; delete from tile; update tree set size = M+0`, eventstore.TreeLost},
		{"all", `delete from event`, eventstore.CutTail},
		{"the baselines changed", `update baseline set state = replace(state::text, '"open"', '"done"')::json`, eventstore.Changed},
		{"a baseline deleted", `delete from baseline where model = 'task'`, eventstore.Changed},
		{"a record before the horizon", `insert into event (position, id, stream, version, type, at, data, size) select M+0, gen_random_uuid(), 'task-x', 1, 'task.done', pruned_at, '{}', 2 from head`, eventstore.Inserted},
		{"a record before all", `insert into event (position, id, stream, version, type, at, data, size) select -7, gen_random_uuid(), 'task-x', 1, 'task.done', pruned_at, '{}', 2 from head`, eventstore.Inserted},
		{"the time of the horizon", `update head set pruned_at = pruned_at - interval '1 day'`, eventstore.Changed},
		{"the log of another workspace", each(`delete from WS0.TABLE; insert into WS0.TABLE select * from WS1.TABLE;`), eventstore.Forked},
		{"the backup of before", each(`delete from WS0.TABLE; insert into WS0.TABLE select * from WS0.old_TABLE;`), eventstore.CutTail},
	} {
		p.asSuperuser(t, at(attack.sql), ada, eve)
		verdict, err := p.projections.Verify(t.Context(), ada.workspace, projections.Expected(ada.workspace, marks, 1), false, nil)
		if err != nil || len(verdict.Findings) == 0 || verdict.Findings[0].Kind != attack.kind {
			t.Errorf("%s: %v, %v; want %s", attack.name, verdict.Findings, err, attack.kind)
		}
		p.asSuperuser(t, back, ada)
	}
	ada.verifies(t, marks...)
}
