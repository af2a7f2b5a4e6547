package http

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/imports"
	"github.com/kluis-eu/kluis/projections"
)

type (
	importing struct {
		Idempotent
		Format  string `query:"format" required:"true" enum:"tracker,jira,github,csv" doc:"What the file is: NDJSON of actions, the JSON of Jira's search or of GitHub's issues, or a CSV with a task a row."`
		Source  string `query:"source" maxLength:"40" doc:"Names where the file comes from; left out, as the format. The same id of the same source is imported once, for ever."`
		Org     string `query:"org" maxLength:"100" doc:"Of a tracker with several organisations, the one to import."`
		Mapping string `query:"mapping" maxLength:"10000" example:"{\"Summary\": \"title\"}" doc:"Of a CSV: a JSON object that names the field of each column which is not called as one."`
	}
	importBody struct {
		domain.Import
		Counts  *commands.ImportCounts `json:"counts,omitempty" doc:"How far it is; left out in the past."`
		Rejects []imports.Reject       `json:"rejects" doc:"The lines that cannot be imported, and why; the first 10,000. None in the past."`
	}
)

func importNoun(a *api) {
	command(a, operation{Method: "POST", Path: "/api/import", ID: "request-import", Tag: "import", Status: http.StatusAccepted, Made: "/api/import/{id}",
		Summary: "Import what happened in another tracker", Access: needs(domain.CreateImport), File: "file", MaxBody: commands.MaxImport + formRoom,
		Description: "The file is played in the background, through the same rules that members are under, as the member who asks. Times and authors of there are facts " +
			"of the events, beside the log's own; people without an account become placeholders, whom an invitation can give one (`placeholder_id`). " +
			"What cannot be imported is rejected by line, and the rest goes on. The same file again changes nothing; one that goes further goes on from there."},
		func(ctx context.Context, r commands.Request, in *importing) (*wrote[domain.Import], error) {
			wanted := domain.ImportRequested{Format: in.Format, Source: in.Source, Org: in.Org}
			if wanted.Source == "" {
				wanted.Source = in.Format
			}
			if in.Mapping != "" {
				if err := json.Unmarshal([]byte(in.Mapping), &wanted.Mapping); err != nil {
					return nil, domain.InvalidField("/mapping", `must be a JSON object such as {"Name of the column": "title"}`)
				}
			}
			if err := a.uploads.acquire(ctx, r.By.Member); err != nil {
				return nil, err
			}
			_, content, err := fileOf(exchangeOf(ctx).parts, "file")
			if err != nil {
				return nil, err
			}
			return answered(a.Commands.RequestImport(ctx, r, wanted, content))
		})
	lists(a, operation{Method: "GET", Path: "/api/import", ID: "list-imports", Tag: "import", Status: http.StatusOK,
		Summary: "List the imports", Access: needs(domain.ReadImport)}, projections.Imports,
		func(ctx context.Context, by projections.Actor, _ *listing, page projections.Page) ([]projections.Shown, projections.Mark, error) {
			return projections.Imports.ListShown(ctx, a.Projections, by, page, nil)
		})
	register(a, operation{Method: "GET", Path: "/api/import/{id}", ID: "get-import", Tag: "import", Status: http.StatusOK,
		Summary: "How far is an import, or was it?", Access: needs(domain.ReadImport)}, gettingRow(a, projections.Imports, importRow, a.getImport))
	register(a, operation{Method: "GET", Path: "/api/import/{id}/history", ID: "get-import-history", Tag: "import", Status: http.StatusOK,
		Summary: "Who asked for an import, and how it ended", Access: needs(domain.ReadImport)}, history(a, projections.Imports))
}

var importRow = rowOf(func(b importBody) domain.Import { return b.Import }, func(i domain.Import) importBody { return importBody{Import: i, Rejects: []imports.Reject{}} })

func (a *api) getImport(ctx context.Context, by projections.Actor, id uuid.UUID) (importBody, projections.Mark, error) {
	i, mark, err := projections.Imports.Get(ctx, a.Projections, by, id)
	body := importBody{Import: i, Counts: &commands.ImportCounts{Played: map[string]int{}}, Rejects: []imports.Reject{}}
	if err != nil {
		return body, mark, err
	}
	run, err := a.Projections.GetImportRun(ctx, by.Workspace, id)
	if err != nil || run == nil {
		return body, mark, err
	}
	if err := json.Unmarshal(run.Counts, body.Counts); err != nil {
		return body, mark, err
	}
	err = json.Unmarshal(run.Rejects, &body.Rejects)
	return body, mark, err
}
