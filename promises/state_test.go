package promises

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// inState has a function read the rows as they were at a moment.
func (c *client) inState(t *testing.T, m projections.Moment, look func(s pg.Shadow, read func(...pg.Statement) error)) {
	t.Helper()
	err := c.program.Tenancy.InState(t.Context(), c.workspace, func(ctx context.Context, s pg.Shadow) error {
		if err := c.projections.FillState(ctx, s, m, nil); err != nil {
			return err
		}
		look(s, func(query ...pg.Statement) error {
			return c.db.InShadow(ctx, s, func(tx *pg.Tx) error { return tx.Run(ctx, query...) })
		})
		return nil
	})
	if err != nil {
		t.Errorf("position %d: %v", m.Position, err)
	}
}

// randomly has events of all types happen, one write each.
func (c *client) randomly(t *testing.T, events int) {
	t.Helper()
	writes := rapid.Custom(func(r *rapid.T) []eventstore.Write {
		w := &world{T: r, things: map[string][]uuid.UUID{"workspace": {c.workspace.ID}, "member": {c.id}}}
		for len(w.writes) < events {
			w.happen(rapid.SampledFrom(domain.Types()).Draw(r, "type"))
		}
		return w.writes
	}).Example(int(time.Now().UnixNano()))
	for _, write := range writes {
		if _, err := c.store.Append(context.Background(), c.workspace, eventstore.Append{Actor: c.id, Writes: []eventstore.Write{write}}); err != nil {
			t.Errorf("%s: %v", write.Events[0].Type, err)
			return
		}
	}
}

// wantState compares the state of a moment with what Apply alone makes of the first records of a log.
func (c *client) wantState(t *testing.T, m projections.Moment, all []eventstore.Record, position int64) {
	t.Helper()
	if m.Position != position || !m.At.Equal(all[position-1].At) {
		t.Errorf("the moment is %+v, not position %d of %s", m, position, all[position-1].At)
	}
	c.inState(t, m, func(_ pg.Shadow, read func(...pg.Statement) error) { wantFoldsOf(t, all[:position], read) })
}

// The state of any moment is what Apply alone makes of the log up to there, also while others write.
func TestStateOfAnyMoment(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	ada.randomly(t, 150)
	all := ada.log(t)
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		ada.randomly(t, 50)
	}()
	for _, position := range []int64{1, int64(len(all) / 3), int64(len(all))} {
		ada.wantState(t, must(ada.projections.MomentAt(t.Context(), ada.workspace, position)), all, position)
	}
	<-writing
	then := all[len(all)/2].At
	last := int64(len(all)/2 + 1)
	for all[last].At.Equal(then) { // several may be of one microsecond
		last++
	}
	ada.wantState(t, must(ada.projections.MomentOf(t.Context(), ada.workspace, then)), all, last)
}

// So it is behind the horizon of a log that was pruned, and at it; before it, a moment is refused.
func TestStateBehindTheHorizon(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	task := taskPath(ada.newTask(t))
	ada.call(t, "POST", task+"/comments", object{"body": "as it was"}).want(t, 201)
	ada.agree(t)
	all := ada.log(t)
	horizon := ada.prune(t).UpTo
	ada.call(t, "PATCH", task, object{"title": "as it is"}).want(t, 200)
	all = append(all[:horizon:horizon], ada.log(t)...)
	for _, position := range []int64{horizon, horizon + 1, int64(len(all))} {
		ada.wantState(t, must(ada.projections.MomentAt(t.Context(), ada.workspace, position)), all, position)
	}
	then := all[horizon-1].At
	ada.wantState(t, must(ada.projections.MomentOf(t.Context(), ada.workspace, then)), all, horizon)
	for _, err := range []error{
		second(ada.projections.MomentAt(t.Context(), ada.workspace, horizon-1)),
		second(ada.projections.MomentOf(t.Context(), ada.workspace, then.Add(-time.Microsecond))),
	} {
		if refusal, is := domain.Refusal(err); !is || refusal.Code != "pruned" {
			t.Errorf("before the horizon: %v", err)
		}
	}
}

// A log that is pruned beyond a moment while its state is made gives no half of it.
func TestStateOfWhatIsPrunedMeanwhile(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	ada.newTask(t)
	ada.agree(t)
	early, late := must(ada.projections.MomentAt(t.Context(), ada.workspace, 1)), must(ada.projections.MomentAt(t.Context(), ada.workspace, ada.head(t)))
	ada.prune(t)
	for m, says := range map[projections.Moment]string{early: "were pruned after the retention", late: "was pruned meanwhile"} {
		err := ada.program.Tenancy.InState(t.Context(), ada.workspace, func(ctx context.Context, s pg.Shadow) error { return ada.projections.FillState(ctx, s, m, nil) })
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("position %d: %v", m.Position, err)
		}
	}
	if left := ada.states(t); len(left) > 0 {
		t.Errorf("what could not be made is left: %v", left)
	}
}

// A moment that the log does not have is refused.
func TestStateOfNoMoment(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	first := ada.log(t)[0]
	for says, err := range map[string]error{
		"the log ends at 2":           second(ada.projections.MomentAt(t.Context(), ada.workspace, 3)),
		"is still to come":            second(ada.projections.MomentOf(t.Context(), ada.workspace, time.Now().Add(time.Hour))),
		"there was nothing yet":       second(ada.projections.MomentOf(t.Context(), ada.workspace, first.At.Add(-time.Microsecond))),
		"position 9 is still to come": second(ada.projections.MomentAt(t.Context(), ada.workspace, 9)),
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
}

// States that nobody holds are dropped, with what of them there is; those that somebody looks at stay. Two look at once.
func TestStatesThatAreLeft(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	tenancy := ada.program.Tenancy
	m := must(ada.projections.MomentAt(t.Context(), ada.workspace, 1))
	left, half, login := pg.NewState(ada.workspace), pg.NewState(ada.workspace), pg.NewState(ada.workspace)
	if err := ada.projections.FillState(t.Context(), left, m, nil); err != nil { // as of one that is killed
		t.Fatal(err)
	}
	if _, _, err := tenancy.OpenState(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	if err := ada.projections.FillState(t.Context(), half, m, nil); err != nil {
		t.Fatal(err)
	}
	if err := ada.projections.FillState(t.Context(), login, m, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tenancy.OpenState(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	if err := ada.db.Own(t.Context(), "", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `drop schema `+login.Schema()+` cascade`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if there := ada.states(t); len(there) != 3 {
		t.Fatalf("there are %v", there)
	}
	ada.inState(t, m, func(s pg.Shadow, read func(...pg.Statement) error) {
		if _, _, err := tenancy.OpenState(t.Context(), s); err != nil {
			t.Error(err)
		}
		ada.inState(t, m, func(pg.Shadow, func(...pg.Statement) error) {})
		if err := tenancy.DropStates(t.Context()); err != nil {
			t.Error(err)
		}
		if there := ada.states(t); len(there) != 1 || there[0] != s.Schema() {
			t.Errorf("while it is looked at there are %v", there)
		}
		wantFoldsOf(t, ada.log(t)[:1], read)
		if err := tenancy.SelfTest(t.Context()); err != nil {
			t.Error(err)
		}
	})
	broken := errors.New("broken")
	if err := tenancy.InState(t.Context(), ada.workspace, func(context.Context, pg.Shadow) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if there := ada.states(t); len(there) > 0 {
		t.Errorf("there are still %v", there)
	}
}

// states are the names of the schemas and logins of states in the database.
func (c *client) states(t *testing.T) (names []string) {
	t.Helper()
	c.query(t, pg.Column(&names, `select nspname::text from pg_namespace where starts_with(nspname, $1) union select rolname::text from pg_roles where starts_with(rolname, $1)`,
		c.workspace.Schema()+"_state_"))
	return names
}

// second is the error of two results.
func second[T any](_ T, err error) error { return err }
