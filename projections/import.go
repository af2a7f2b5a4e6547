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

// ImportRun is how far an import is, in JSON. It is no history: nothing is decided on it.
type ImportRun struct {
	Counts  json.RawMessage
	Rejects json.RawMessage
}

// GetImportRun answers with how far an import is; nil when it has not begun.
func (p *Projections) GetImportRun(ctx context.Context, w pg.Workspace, id uuid.UUID) (*ImportRun, error) {
	var runs []ImportRun
	if err := p.db.Read(ctx, w, pg.Rows(&runs, `select counts::text::json as counts, rejects::text::json as rejects from import_run where import_id = $1`, id)); err != nil {
		return nil, fmt.Errorf("look how far an import is: %w", err)
	}
	if len(runs) == 0 {
		return nil, nil
	}
	return &runs[0], nil
}

// StoreImportRun is what stores how far an import is.
func StoreImportRun(id uuid.UUID, run ImportRun) pg.Statement {
	return pg.Exec(`insert into import_run (import_id, counts, rejects) values ($1, $2::text::json, $3::text::json)
		on conflict (import_id) do update set counts = excluded.counts, rejects = excluded.rejects`, id, string(run.Counts), string(run.Rejects))
}
