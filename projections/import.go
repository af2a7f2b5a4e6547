package projections

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Imports is the read model of the imports.
var Imports = newNoun(
	newModel("import", domain.ImportStream, ofKind("import"), (*domain.Import).Apply, func(i domain.Import) uuid.UUID { return i.ID }),
	Sight{Read: domain.ReadImport, Own: `import.created_by = $2`},
	Lists{Sorts: []Sorting{{Field: "created_at"}}})

// ImportRun is the progress of an import, in JSON. The progress is in no event, because no decision depends on it.
type ImportRun struct {
	Counts  json.RawMessage
	Rejects json.RawMessage
}

// GetImportRun answers with the progress of an import; nil before its beginning.
func (p *Projections) GetImportRun(ctx context.Context, w pg.Workspace, id uuid.UUID) (*ImportRun, error) {
	var runs []ImportRun
	if err := p.db.Read(ctx, w, pg.Rows(&runs, `select counts::text::json as counts, rejects::text::json as rejects from import_run where import_id = $1`, id)); err != nil {
		return nil, fmt.Errorf("read the progress of an import: %w", err)
	}
	if len(runs) == 0 {
		return nil, nil
	}
	return &runs[0], nil
}

// StoreImportRun is the statement that stores the progress of an import.
func StoreImportRun(id uuid.UUID, run ImportRun) pg.Statement {
	return pg.Exec(`insert into import_run (import_id, counts, rejects) values ($1, $2::text::json, $3::text::json)
		on conflict (import_id) do update set counts = excluded.counts, rejects = excluded.rejects`, id, string(run.Counts), string(run.Rejects))
}
