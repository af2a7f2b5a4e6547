package promises

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// agree has the events of a workspace kept for a second, and waits until those of now are older.
func (c *client) agree(t testing.TB) {
	t.Helper()
	second := domain.Retention(time.Second)
	if _, err := c.commands.OperatorPlan(t.Context(), c.workspace, "enterprise", &second); err != nil {
		t.Fatal(err)
	}
	c.age(t)
}

// age waits until all events of a workspace are older than a second, and everything that follows the log has them.
func (c *client) age(t testing.TB) {
	t.Helper()
	if _, err := c.projections.CatchUp(t.Context(), c.workspace); err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.GrowFor(t.Context(), c.workspace, patient); err != nil {
		t.Fatal(err)
	}
	c.must(t, `update reaction set position = head.position from head`)
	for old := false; !old; {
		c.query(t, pg.Exec(`select at < clock_timestamp() - interval '1.1 seconds' from head, pg_sleep(0.1)`).Scan(&old))
	}
}

func (c *client) query(t testing.TB, query ...pg.Statement) {
	t.Helper()
	if err := c.db.Read(context.Background(), c.workspace, query...); err != nil {
		t.Fatal(err)
	}
}

func (c *client) must(t testing.TB, sql string) {
	t.Helper()
	if err := c.db.Do(context.Background(), c.workspace, pg.Exec(sql)); err != nil { //sqlcheck:allow a test's own
		t.Fatal(err)
	}
}

func (c *client) prune(t testing.TB) commands.Pruning {
	t.Helper()
	done, err := c.commands.Prune(t.Context(), c.workspace, commands.Hearer{})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// verifies fails the test unless the log of a workspace verifies and gives its rows.
func (c *client) verifies(t testing.TB, marks ...eventstore.Mark) {
	t.Helper()
	verdict, err := c.projections.Verify(t.Context(), c.workspace, projections.Expected(c.workspace, marks, 1), true, nil)
	if err != nil || len(verdict.Findings) > 0 {
		t.Errorf("%v %v", verdict.Findings, err)
	}
}

// What is older than the plan says is gone for everybody who reads, and everything goes on: rows, versions, histories, moments behind the
// horizon, and proofs of what is gone.
func TestRetention(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	old := taskPath(ada.newTask(t))
	ada.call(t, "PATCH", old, object{"title": "second name"}).want(t, 200)
	checkpoint := string(ada.call(t, "GET", "/api/audit/checkpoint", nil).want(t, 200).body)
	first := ada.log(t)[0]
	ada.agree(t)
	horizon := int64(len(ada.log(t)))
	done := ada.prune(t)
	if done.Events != horizon || done.Deleted != horizon || done.UpTo != horizon {
		t.Fatalf("%+v, want %d", done, horizon)
	}
	ada.verifies(t)
	log := ada.log(t)
	if len(log) != 1 || log[0].Type != "log.pruned" || log[0].Position != horizon+1 {
		t.Fatalf("what is left: %v", log)
	}
	var left int
	if ada.query(t, pg.Exec(`select count(*) from event`).Scan(&left)); left != 1 {
		t.Errorf("%d events are there", left)
	}
	ada.call(t, "PATCH", old, object{"title": "third name"}).want(t, 200)

	lines := ada.story(t, old)
	if lines[0].Type != "log.pruned" || lines[0].Version != 2 || len(lines) != 2 || string(lines[1].Old) != `"second name"` || lines[1].Version != 3 {
		t.Errorf("the history: %+v", lines)
	}
	for _, target := range []string{old + "?" + asOf(first.At), "/api/members?" + asOf(first.At), "/api/audit/replay?from=1", fmt.Sprintf("/api/audit/replay?from=%d", horizon),
		"/api/audit/events?from=" + first.At.Format(time.RFC3339Nano), "/api/audit/export?format=csv&after=1"} {
		a := ada.call(t, "GET", target, nil)
		a.problem(t, 410, "pruned")
		if said := decode[struct{ Horizon domain.Horizon }](t, a).Horizon; said.Position != horizon || said.At.IsZero() {
			t.Errorf("%s: %s", target, a.body)
		}
	}
	if then := decode[struct{ Title string }](t, ada.call(t, "GET", old+"?"+asOf(log[0].At), nil).want(t, 200)); then.Title != "second name" {
		t.Errorf("as of then it was %q", then.Title)
	}
	ada.call(t, "GET", "/api/audit/export?format=ndjson", nil).want(t, 200)
	if replay := string(ada.call(t, "GET", "/api/audit/replay", nil).want(t, 200).body); !strings.HasPrefix(replay, fmt.Sprintf(`{"position":%d,`, horizon+1)) {
		t.Errorf("the replay: %s", replay)
	}
	ada.call(t, "GET", "/api/audit/proof/1", nil).want(t, 200)
	size := strings.Split(checkpoint, "\n")[1]
	ada.call(t, "GET", "/api/audit/consistency?from="+size, nil).want(t, 200)
	if again := ada.prune(t); again.Events != 0 || again.Deleted != 0 {
		t.Errorf("pruned again: %+v", again)
	}

	ada.age(t)
	if done := ada.prune(t); done.Deleted != 2 || done.UpTo != horizon+2 {
		t.Errorf("the second time: %+v", done)
	}
	ada.verifies(t)
	ada.call(t, "PATCH", old, object{"title": "fourth name"}).want(t, 200)
	if lines := ada.story(t, old); lines[0].Version != 3 || lines[1].Version != 4 {
		t.Errorf("the history: %+v", lines)
	}
	ada.age(t)
	ada.prune(t)
	ada.age(t)
	if idle := ada.prune(t); idle.Events != 0 {
		t.Errorf("only what tells of pruning is old, and is pruned: %+v", idle)
	}
}

// Whatever nouns and texts there are, pruning changes nothing that is shown of what is there; and everything goes on to change.
func TestRetentionOfEveryNoun(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	x := p.newTenant(t)
	awkward := "one\ntwo\ttabs \\ \\x41 \"quoted\" 'single' {} é \u2028 \U0001f600"
	task := decode[domain.Task](t, x.call(t, "POST", "/api/tasks", object{"title": "\\ \"é\"", "description": awkward}).want(t, 201))
	x.call(t, "POST", taskPath(task, "comments"), object{"body": awkward}).want(t, 201)
	x.agree(t)
	for range 2 {
		before := x.answers(t)
		if done := x.prune(t); done.Deleted == 0 {
			t.Fatalf("nothing was pruned: %+v", done)
		}
		for target, after := range x.answers(t) {
			if was, there := before[target]; there && was != after {
				t.Errorf("%s was %s, and is %s", target, was, after)
			}
		}
		x.verifies(t)
		x.noDrift(t)
		x.call(t, "PATCH", taskPath(task), object{"description": awkward + fmt.Sprint(x.head(t))}).want(t, 200)
		for _, op := range sampled(t) {
			if op.method == "PATCH" && op.id != "update-workspace" { // which has the plan
				x.call(t, op.method, op.at(x.ids(t, op)), x.body(t, op))
			}
		}
		x.age(t)
	}
}

// answers is what each operation answers that reads what is there now: not the log, and not what tells of its own requests.
func (x *tenant) answers(t *testing.T) map[string]string {
	t.Helper()
	shown := map[string]string{}
	for _, op := range sampled(t) {
		passed := func(part string) bool { return strings.Contains(op.path, part) }
		if op.method != "GET" || op.public() || slices.ContainsFunc([]string{"/audit/", "/history", "/sessions", "/tokens", "/receivers", "/export"}, passed) {
			continue
		}
		target := op.at(x.ids(t, op))
		if a := x.call(t, "GET", target, nil); a.status == 200 {
			shown[target] = string(a.body)
		}
	}
	if len(shown) < 20 {
		t.Errorf("only %d things are shown", len(shown))
	}
	return shown
}
