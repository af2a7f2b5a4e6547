package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
)

// SubprocessorChanges reads every version of the list of subprocessors, the oldest first. tx runs as the login.
func SubprocessorChanges(ctx context.Context, tx pgx.Tx) ([]domain.SubprocessorChange, error) {
	rows, err := tx.Query(ctx, `select version, name, purpose, country, data, safeguard, removed, agreed, effective::text as effective, at
		from kluis.subprocessor order by version`)
	if err != nil {
		return nil, fmt.Errorf("read the subprocessors: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[domain.SubprocessorChange])
}
