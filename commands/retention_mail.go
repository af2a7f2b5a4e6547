package commands

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// TellOfRetention mails the admins of a workspace with a lower plan the day from which its log is kept for a shorter time. When the plan has gone up again
// meanwhile, no mail is sent. tx is a transaction of the login.
func (c *Commands) TellOfRetention(ctx context.Context, tx pgx.Tx, w pg.Workspace) error {
	ws, _, err := c.Projections.GetWorkspace(ctx, w)
	if err != nil || ws.EarlierUntil == nil {
		return err
	}
	after := ws.Retention(*ws.EarlierUntil)
	days := after.Days()
	if days == nil || !after.Shorter(ws.Retention(ws.EarlierUntil.Add(-time.Second))) {
		return nil
	}
	values := map[string]string{"Plan": ws.Plan, "Until": ws.EarlierUntil.In(domain.Brussels).Format(time.DateOnly), "Days": strconv.Itoa(int(*days))}
	return c.MailAdmins(ctx, tx, w, "retention_shortened", values)
}
