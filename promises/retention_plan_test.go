package promises

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// A plan that goes down keeps events as before for thirty days, and its admins get a mail; one that goes up keeps them at once, and brings
// nothing back.
func TestRetentionOfPlans(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)[0]
	ada := p.signUp(t)
	plan := func(name string) domain.Workspace {
		t.Helper()
		w, err := p.commands.OperatorPlan(t.Context(), ada.workspace, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	plan("business")
	w := plan("free")
	now := w.UpdatedAt
	for _, c := range []struct {
		at   time.Time
		want domain.Retention
	}{
		{now, domain.PlanRetention("business")}, {now.Add(domain.RetentionGrace - time.Second), domain.PlanRetention("business")},
		{now.Add(domain.RetentionGrace), domain.PlanRetention("free")},
	} {
		if is := w.Retention(c.at); is != c.want {
			t.Errorf("at %s events are kept %s, not %s", c.at.Sub(now), is, c.want)
		}
	}
	ada.mailed(t, "retention_shortened")
	if w = plan("pro"); w.EarlierUntil == nil || w.Retention(now.Add(time.Hour)) != domain.PlanRetention("business") || w.Retention(now.Add(2*domain.RetentionGrace)) != domain.PlanRetention("pro") {
		t.Errorf("a smaller step down: %+v", w)
	}
	if w = plan("business"); w.EarlierUntil != nil || w.Retention(now.Add(2*domain.RetentionGrace)) != domain.PlanRetention("business") {
		t.Errorf("up again: %+v", w)
	}

	ada.agree(t)
	horizon := ada.prune(t).UpTo
	plan("business")
	ada.age(t)
	if due, err := p.commands.DuePruning(t.Context(), ada.workspace); err != nil || due.Events != 0 {
		t.Errorf("due: %+v, %v", due, err)
	}
	ada.call(t, "GET", "/api/audit/replay?from=1", nil).problem(t, 410, "pruned")
	ada.call(t, "GET", fmt.Sprintf("/api/audit/replay?from=%d", horizon+1), nil).want(t, 200)
	ada.verifies(t)
}

// The night says what was refused, and why; and goes on with the next workspace.
func TestNightOfRetention(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada, eve := p.signUp(t), p.signUp(t)
	ada.newTask(t)
	ada.agree(t)
	eve.agree(t)
	p.asSuperuser(t, `update task set title = 'forged'`, ada)
	p.control(t, `with due as (update kluis.workspace set retained_at = '-infinity' returning 1) select count(*) from due`)
	if err := p.jobs.RetainAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := p.log.String()
	if !strings.Contains(said, "1 rows of task") || !strings.Contains(said, ada.workspace.ID.String()) || ada.rows(t, "head where pruned > 0") != 0 {
		t.Errorf("of what was refused the log says %s", said)
	}
	if eve.rows(t, "head where pruned > 0") != 1 {
		t.Error("the other workspace was not pruned")
	}
	p.log.forget("was not pruned")
}

// What is known of requests goes with the records: from where they came, what they were answered, and their keys. A request that was made before
// the horizon is not done again, and a line of an import is not, however old.
func TestPruningKeepsNothingOfRequests(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)[0]
	ada := p.signUp(t)
	once := func() reply {
		return ada.call(t, "POST", "/api/tasks", object{"title": "once"}, "Idempotency-Key: once", "User-Agent: Secret/1.0")
	}
	once().want(t, 201)
	lines := `{"at":"2011-08-19T08:13:00Z","actor":"p1","do":"task.create","task":"T-1","title":"imported"}`
	ada.imported(t, ada.imports(t, lines))
	if ada.rows(t, "event where meta is not null") == 0 || ada.rows(t, "dedupe where at < 'infinity'") == 0 {
		t.Fatal("nothing is known of requests")
	}
	ada.agree(t)
	p.asSuperuser(t, `update dedupe set answer = '"Secret"' where at < 'infinity'; insert into dedupe (key, fingerprint, first, last, at) values ('old', '', 1, 1, now() - interval '25 hours')`, ada)
	ada.prune(t)
	for _, left := range []string{"event where meta is not null and position <= (select pruned from head)", "dedupe where at < 'infinity' and answer is not null",
		"dedupe where at < now() - interval '24 hours'"} {
		if n := ada.rows(t, left); n != 0 {
			t.Errorf("%d rows of %s are left", n, left)
		}
	}
	once().problem(t, 410, "pruned")
	if done := ada.imported(t, ada.imports(t, lines)); done.Counts.Repeated == 0 {
		t.Errorf("an import of the same, behind the horizon: %+v", done.Counts)
	}
	if n := ada.rows(t, "task"); n != 2 {
		t.Errorf("%d tasks", n)
	}
	ada.noDrift(t)
}

// A clock that is wrong deletes nothing: neither the one of the database nor that of the program, nor times in the log that are ahead of both.
func TestRetentionUnderAWrongClock(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	ada.agree(t)
	for _, wrong := range []time.Duration{-400 * 24 * time.Hour, -time.Hour, time.Hour, 400 * 24 * time.Hour} {
		p.commands.Wall = func() time.Time { return time.Now().Add(wrong) }
		if done, err := p.commands.Prune(t.Context(), ada.workspace, commands.Hearer{}); err == nil || !strings.Contains(err.Error(), "one of them is wrong") || done.Deleted != 0 {
			t.Errorf("with a clock that is %s wrong: %+v, %v", wrong, done, err)
		}
	}
	p.commands.Wall = time.Now
	var ahead int64
	ada.query(t, pg.Exec(`select position from head`).Scan(&ahead))
	p.asSuperuser(t, fmt.Sprintf(`update event set at = now() + interval '1 year' where position > %d; update head set at = now() + interval '1 year'`, ahead-1), ada)
	due, err := p.commands.DuePruning(t.Context(), ada.workspace)
	if err != nil || due.UpTo != ahead-1 {
		t.Errorf("due with a record of next year: %+v, %v", due, err)
	}
}
