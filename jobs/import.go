package jobs

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

const imports = "import"

func (j *Jobs) queueImport(ctx context.Context, tx pgx.Tx, w pg.Workspace, id uuid.UUID, _ domain.ImportRequested) error {
	return enqueue(ctx, tx, imports, w, id)
}
