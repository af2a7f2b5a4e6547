package jobs

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A signal beyond the head, as after a restore of the workspace, is done once the workspace is at its head, and those of
// a workspace that is gone, or of one that never was, are done as well. None of them is tried for ever.
func TestSignalsOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	restored, gone := p.found(t, p.waitingCode), p.found(t, p.waitingCode)
	p.invite(t, restored, "grace@example.org")
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, p.url))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	run := func(sql string, args ...any) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, w := range []pg.Workspace{restored.Workspace, gone.Workspace, {ID: uuid.New()}} {
		run(`insert into kluis.signal (workspace_id, position) values ($1, 1000000)`, w.ID)
	}
	schema := gone.Workspace.Schema()
	run(`drop schema ` + schema + ` cascade`)
	run(`drop role ` + schema)
	run(`update kluis.workspace set status = 'erased' where id = $1`, gone.Workspace.ID)
	p.run(t, p.follow)
	until(t, "all signals are done", func() bool { return p.signals(t) == 0 })
	if head, checkpoint, reaction := p.positions(t, restored.Workspace); checkpoint != head || reaction != head {
		t.Errorf("head %d, checkpoint %d, reactions %d", head, checkpoint, reaction)
	}
	if n := len(p.enqueued(t, "invitation_code")["grace@example.org"]); n != 1 {
		t.Errorf("%d mails", n)
	}
}

// A workspace that this process may not serve for a while is left to others, wherever in its work it is refused: that is no failure.
func TestSignalsOfWhatIsNotServed(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	f := p.found(t, p.waitingCode)
	for _, refused := range []error{domain.Refuse(domain.Unavailable, "catching_up", "not now"), pg.NewClosedError(nil)} {
		for open := range 4 { // how often the gate lets the workspace through before it refuses
			asked := 0
			p.DB.SetGate(func(context.Context, pg.Workspace, error) error {
				if asked++; asked > open {
					return refused
				}
				return nil
			})
			err := p.handle(t.Context(), eventstore.Signal{Workspace: f.Workspace, Position: 1})
			if asked > open && !errors.Is(err, eventstore.ErrLeave) {
				t.Errorf("refused at the time %d: %v", asked, err)
			}
			if open == 0 && asked == 0 {
				t.Error("the gate was not asked")
			}
		}
	}
}
