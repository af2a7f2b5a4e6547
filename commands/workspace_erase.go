package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// erasureGrace is how long any admin can cancel the erasure of a workspace, unless Needs.ErasureGrace says otherwise.
const erasureGrace = 72 * time.Hour

// EraseWorkspace asks for the erasure of the workspace at the end of the grace, or confirms the erasure as a second admin. The reactions to the event
// put the erasure into the queue, and tell all admins (jobs/workspace.go); RunErasure erases.
func (c *Commands) EraseWorkspace(ctx context.Context, r Request, confirm string) (Result[domain.Workspace], error) {
	var self []projections.MemberRow
	return c.changeWorkspace(ctx, r, domain.DeleteWorkspace, func(w domain.Workspace) ([]domain.Event, error) {
		now, err := c.now(ctx)
		if err != nil {
			return nil, err
		}
		var by *domain.Member // nil for the operator of Kluis
		if len(self) > 0 {
			by = &self[0].Member
		}
		return w.Erase(confirm, by, now, c.ErasureGrace)
	}, projections.LoadMember(&self, r.By, r.By.Member))
}

// KeepWorkspace cancels the erasure of the workspace.
func (c *Commands) KeepWorkspace(ctx context.Context, r Request) (Result[domain.Workspace], error) {
	return c.changeWorkspace(ctx, r, domain.DeleteWorkspace, func(w domain.Workspace) ([]domain.Event, error) { return w.Keep(), nil })
}

// OperatorErase asks for the erasure of a workspace, or confirms it, as the operator of Kluis: at the end of the grace, or at once.
func (c *Commands) OperatorErase(ctx context.Context, w pg.Workspace, slug string, atOnce bool) (domain.Workspace, error) {
	r, err := c.operator(ctx, w)
	if err != nil {
		return domain.Workspace{}, err
	}
	done, err := c.changeWorkspace(ctx, r, domain.DeleteWorkspace, func(w domain.Workspace) ([]domain.Event, error) {
		now, err := c.now(ctx)
		if err != nil {
			return nil, err
		}
		if atOnce && !w.LegalHold {
			return []domain.Event{domain.WorkspaceErasureRequested{ErasesAt: now.UTC().Truncate(time.Microsecond)}}, nil
		}
		return w.Erase(slug, nil, now, c.ErasureGrace)
	})
	if err == nil && done.State.ErasesAt != nil {
		err = c.DB.Control(ctx, func(tx pgx.Tx) error { return c.PlanErasure(ctx, tx, w, *done.State.ErasesAt) })
	}
	return done.State, err
}

// OperatorKeep cancels the erasure of a workspace.
func (c *Commands) OperatorKeep(ctx context.Context, w pg.Workspace) error {
	r, err := c.operator(ctx, w)
	if err == nil {
		_, err = c.KeepWorkspace(ctx, r)
	}
	if err != nil {
		return err
	}
	return c.DB.Control(ctx, func(tx pgx.Tx) error { return c.ForgetErasure(ctx, tx, w) })
}

// PlanErasure puts the erasure of a workspace into the queue that all processes share, in a transaction of the login. An erasure that has begun stays.
func (c *Commands) PlanErasure(ctx context.Context, tx pgx.Tx, w pg.Workspace, due time.Time) error {
	_, err := tx.Exec(ctx, `insert into kluis.erasure (workspace_id, slug, due_at) select id, slug, $2 from kluis.workspace where id = $1
		on conflict (workspace_id) do update set due_at = excluded.due_at where erasure.step = ''`, w.ID, due)
	if err != nil {
		return fmt.Errorf("queue the erasure of workspace %s: %w", w.ID, err)
	}
	return nil
}

// ForgetErasure removes the erasure of a workspace from the queue, unless it has begun.
func (c *Commands) ForgetErasure(ctx context.Context, tx pgx.Tx, w pg.Workspace) error {
	if _, err := tx.Exec(ctx, `delete from kluis.erasure where workspace_id = $1 and step = ''`, w.ID); err != nil {
		return fmt.Errorf("take the erasure of workspace %s out of the queue: %w", w.ID, err)
	}
	return nil
}

// TellOfErasure queues a mail to every active admin of a workspace, in a transaction of the login. change is "requested", "confirmed" or "cancelled".
func (c *Commands) TellOfErasure(ctx context.Context, tx pgx.Tx, w pg.Workspace, change string, due time.Time) error {
	values := map[string]string{"Change": change}
	if !due.IsZero() {
		values["When"] = due.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	return c.MailAdmins(ctx, tx, w, "workspace_erasure", values)
}
