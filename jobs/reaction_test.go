package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// signal is the one of the head.
func (p *process) signal(t *testing.T, w pg.Workspace) eventstore.Signal {
	t.Helper()
	head, _, _ := p.positions(t, w)
	return eventstore.Signal{Workspace: w, Position: head}
}

// However many handlers run at once, in however many processes, and again afterwards.
func TestReactionHappensOnce(t *testing.T) {
	t.Parallel()
	one := newProcess(t)
	two := start(t, one.url, one.keyFile)
	ada := one.found(t, one.waitingCode)
	const members = 6
	for i := range members {
		one.invite(t, ada, fmt.Sprintf("m%d@example.org", i))
	}
	signal := one.signal(t, ada.Workspace)
	for range 2 {
		var handlers sync.WaitGroup
		for i := range 6 {
			p := []*process{one, two}[i%2]
			handlers.Go(func() {
				if err := p.react(t.Context(), signal); err != nil {
					t.Error(err)
				}
			})
		}
		handlers.Wait()
	}
	mails := one.enqueued(t, "invitation_code")
	for address, m := range mails {
		if len(m) != 1 {
			t.Errorf("%d mails to %s", len(m), address)
		}
	}
	if len(mails) != members {
		t.Errorf("mails to %d members, want %d", len(mails), members)
	}
	if head, _, reaction := one.positions(t, ada.Workspace); reaction != head {
		t.Errorf("reactions are at %d of %d", reaction, head)
	}
}

// A reaction that fails leaves nothing behind, is tried again, and leaves other workspaces alone.
func TestFailedReaction(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	broken, healthy := p.found(t, p.waitingCode), p.found(t, p.waitingCode)
	var failures atomic.Int32
	p.reactions = []reaction{on(func(j *Jobs, ctx context.Context, tx pgx.Tx, w pg.Workspace, event domain.MemberInvited) error {
		if err := j.inviteMember(ctx, tx, w, event); err != nil {
			return err
		}
		if w == broken.Workspace && failures.Load() < 3 {
			failures.Add(1)
			return errors.New("broken")
		}
		return nil
	})}
	p.run(t, p.follow)
	p.invite(t, broken, "grace@example.org")
	p.invite(t, healthy, "edsger@example.org")
	until(t, "the healthy one", func() bool { return len(p.enqueued(t, "invitation_code")["edsger@example.org"]) == 1 })
	p.invite(t, broken, "barbara@example.org")
	until(t, "the broken one", func() bool { return p.signals(t) == 0 })
	mails := p.enqueued(t, "invitation_code")
	for _, address := range []string{"grace@example.org", "barbara@example.org"} {
		if len(mails[address]) != 1 {
			t.Errorf("%d mails to %s", len(mails[address]), address)
		}
	}
	if n := strings.Count(p.log.String(), "broken"); failures.Load() != 3 || n != 3 {
		t.Errorf("failed %d times, logged %d times", failures.Load(), n)
	}
}

// A person who was erased before the mail went out gets none, and does not hold up the next.
func TestErasedPersonGetsNoInvitation(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	ada := p.found(t, p.waitingCode)
	erased := p.invite(t, ada, "grace@example.org")
	p.invite(t, ada, "edsger@example.org")
	err := p.DB.Own(t.Context(), ada.Workspace.Schema(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `delete from data_key where subject = $1`, erased)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	later := start(t, p.url, p.keyFile) // another process, which never saw the key
	if err := later.react(t.Context(), p.signal(t, ada.Workspace)); err != nil {
		t.Fatal(err)
	}
	mails := p.enqueued(t, "invitation_code")
	if len(mails["grace@example.org"]) != 0 || len(mails["edsger@example.org"]) != 1 {
		t.Errorf("mails to %d addresses", len(mails))
	}
}
