package jobs

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

const exports = "export"

func (j *Jobs) queueExport(ctx context.Context, tx pgx.Tx, w pg.Workspace, event domain.ExportRequested) error {
	return enqueue(ctx, tx, exports, w, event.ExportID)
}
