package jobs

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// changePlan mails the admins when a plan that went down shortens how long events are kept.
func (j *Jobs) changePlan(ctx context.Context, tx pgx.Tx, w pg.Workspace, _ domain.WorkspacePlanChanged) error {
	return j.Commands.TellOfRetention(ctx, tx, w)
}
