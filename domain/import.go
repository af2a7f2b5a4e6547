package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// ImportFormats are the formats of a file that can be imported.
var ImportFormats = []string{"tracker", "jira", "github", "csv"}

// The statuses of an import.
const (
	ImportWaiting = "waiting" // the background has not read the whole file
	ImportDone    = "done"    // every line of the file was imported or rejected
	ImportFailed  = "failed"  // the import stopped before the end of the file
)

// Import is a file with the history of another system, which is repeated as events of the workspace.
type Import struct {
	ID         uuid.UUID         `json:"id"`
	Format     string            `json:"format"`
	Source     string            `json:"source" doc:"Names where the file comes from: together with an id of there it names a thing, so that nothing is imported twice."`
	Org        string            `json:"org" doc:"Of a tracker with several organisations, the one that is imported; empty for all."`
	Mapping    map[string]string `json:"mapping" doc:"Of a CSV: the field of each column."`
	Size       int64             `json:"size" doc:"Of the file, in bytes."`
	Status     string            `json:"status" doc:"waiting until all of it was read; then done, or failed. An import that failed can be sent again, and goes on."`
	Failure    string            `json:"failure" doc:"Why it failed; empty when it did not."`
	TokenID    *uuid.UUID        `json:"token_id" doc:"The API token that asked for it, and that it goes on with: when it is revoked, the import ends."`
	CreatedBy  uuid.UUID         `json:"created_by"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
	FinishedAt *time.Time        `json:"finished_at"`
	Version    int               `json:"version"`
	Position   int64             `json:"position"`
}

// ImportStream names the stream of an import.
func ImportStream(id uuid.UUID) string { return "import-" + id.String() }

// The events of an import. The imported things have events of their own, each with an Original.
type (
	ImportRequested struct {
		Format  string            `json:"format"`
		Source  string            `json:"source"`
		Org     string            `json:"org,omitempty"`
		Mapping map[string]string `json:"mapping,omitempty"`
		Size    int64             `json:"size"`
		TokenID *uuid.UUID        `json:"token_id,omitempty"` // the API token under which the import runs
	}
	ImportFinished struct {
		Actions  int `json:"actions"`
		Rejected int `json:"rejected"`
	}
	ImportBroken struct {
		Reason string `json:"reason"`
	}
)

func init() {
	register[ImportRequested]("import.requested")
	register[ImportFinished]("import.finished")
	register[ImportBroken]("import.failed")
}

// Apply folds one event of the import's stream into its state.
func (i *Import) Apply(r Record) {
	switch e := r.Event.(type) {
	case ImportRequested:
		id, _ := StreamID("import", r.Stream)
		*i = Import{ID: id, Format: e.Format, Source: e.Source, Org: e.Org, Mapping: e.Mapping, Size: e.Size, TokenID: e.TokenID, Status: ImportWaiting, CreatedBy: r.Actor, CreatedAt: r.At}
	case ImportFinished:
		i.Status, i.FinishedAt = ImportDone, &r.At
	case ImportBroken:
		i.Status, i.Failure, i.FinishedAt = ImportFailed, e.Reason, &r.At
	}
	if i.Mapping == nil {
		i.Mapping = map[string]string{}
	}
	i.UpdatedAt, i.Version, i.Position = r.At, r.Version, r.Position
}

// CheckImport refuses an invalid import before its file is sent.
func CheckImport(e ImportRequested) error {
	if e.Mapping != nil && e.Format != "csv" {
		return InvalidField("/mapping", "must be empty: only a CSV has a mapping")
	}
	if e.Org != "" && e.Format != "tracker" {
		return InvalidField("/org", "must be empty: only a tracker has organisations")
	}
	for column, field := range e.Mapping {
		if len(column) > 200 || len(field) > 40 || len(e.Mapping) > 200 {
			return InvalidField("/mapping", "must have at most 200 columns, with names of at most 200 bytes")
		}
	}
	return firstError(oneOf("/format", e.Format, ImportFormats...), checkText("/source", e.Source, 1, 40), checkText("/org", e.Org, 0, 100))
}

// Finish ends an import. An import that has ended stays as it is.
func (i Import) Finish(end Event) []Event {
	if slices.Contains([]string{ImportDone, ImportFailed}, i.Status) {
		return nil
	}
	return []Event{end}
}

// Parts gives the member's parts in the import.
func (i Import) Parts(member uuid.UUID) Parts { return creator(i.CreatedBy, member) }
