package projections

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

var exportsStream, exportOf = inStream(domain.ExportsStream, domain.ExportOf)

// Exports is the read model of the exports.
var Exports = newNoun(
	newModel("export", exportsStream, exportOf, (*domain.Export).Apply, func(x domain.Export) uuid.UUID { return x.ID }),
	Sight{Read: domain.ReadExport, Own: `export.created_by = $2`},
	Lists{Sorts: []Sorting{{Field: "created_at"}}})

// ExportNow is the query for the export under way, if there is one, and for the version of the stream of the exports.
func ExportNow(into *[]domain.Export, version *int) []pg.Statement {
	return []pg.Statement{
		pg.Exec(`select coalesce(max(version), 0) from export`).Scan(version),
		pg.Rows(into, `select `+Exports.columnList()+` from export where status = 'waiting'`), //sqlcheck:allow the names in our own struct
	}
}

// ExpiredExports answers with the exports whose files have expired.
func (p *Projections) ExpiredExports(ctx context.Context, w pg.Workspace) (ids []uuid.UUID, err error) {
	_, err = p.Fresh(ctx, w, pg.Column(&ids, `select id from export where status = 'done' and expires_at < now() limit 100`))
	return ids, err
}

// Waiting tells which of these imports and exports still need their blobs: those under way, and finished exports that have not expired. One that
// the read models do not have yet is not among them.
func (p *Projections) Waiting(ctx context.Context, w pg.Workspace, ids []uuid.UUID) (waiting []uuid.UUID, err error) {
	_, err = p.Fresh(ctx, w, pg.Column(&waiting, `select id from import where id = any($1) and status = 'waiting'
		union all select id from export where id = any($1) and (status = 'waiting' or status = 'done' and expires_at > now())`, ids))
	return waiting, err
}

// GetExportRun answers with the progress of an export, in JSON; nil before its beginning. The progress is in no event.
func (p *Projections) GetExportRun(ctx context.Context, w pg.Workspace, id uuid.UUID) ([]byte, error) {
	var runs []string
	err := p.db.Read(ctx, w, pg.Column(&runs, `select counts::text from export_run where export_id = $1`, id))
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	return []byte(runs[0]), nil
}

// StoreExportRun is the statement that stores the progress of an export.
func StoreExportRun(id uuid.UUID, counts string) pg.Statement {
	return pg.Exec(`insert into export_run (export_id, counts) values ($1, $2::text::json) on conflict (export_id) do update set counts = excluded.counts`, id, counts)
}

// ErasedSince is the query for whether somebody was erased behind a position of the log.
func ErasedSince(into *bool, position int64) pg.Statement {
	return pg.Exec(`select exists (select from event where stream = $1 and type = 'member.erased' and position > $2)`, domain.RosterStream, position).Scan(into)
}
