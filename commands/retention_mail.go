package commands

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
)

// TellOfRetention mails the admins of a workspace whose plan went down from when on its log is kept for less long; nothing when it is
// not, or no longer: the plan may have gone up meanwhile. tx is the login's.
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
	admins, err := c.Projections.Admins(ctx, w)
	if err != nil {
		return err
	}
	values := map[string]string{"Plan": ws.Plan, "Until": ws.EarlierUntil.In(domain.Brussels).Format(time.DateOnly), "Days": strconv.Itoa(int(*days))}
	for _, admin := range admins {
		message, err := c.mailTo(ctx, w, admin, "retention_shortened", values)
		if errors.Is(err, vault.ErrErased) {
			continue
		}
		if err == nil {
			err = c.enqueue(ctx, tx, message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
