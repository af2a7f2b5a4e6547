package http

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	exportAsking struct{ Idempotent }
	exportShow   struct {
		domain.Export
		Progress *commands.ExportCounts `json:"progress,omitempty" doc:"How far it is; left out in the past."`
	}
	exportWritten struct {
		Written
		Body exportShow
	}
)

func export(a *api) {
	command(a, operation{Method: "POST", Path: "/api/export", ID: "request-export", Tag: "export", Status: http.StatusAccepted, Made: "/api/export/{id}",
		Summary: "Export everything that the workspace has", Access: needs(domain.CreateExport),
		Description: "A ZIP is made in the background, of one moment: each kind of thing as JSON and as CSV, with the trash and with members who left, the files of tasks, and the log with what proves it. " +
			"Names and addresses are in it in clear; passwords, tokens and keys are not. Ask `GET /api/export/{id}` how far it is; the file is there for 24 hours, for whoever asked. " +
			"One is made at a time: while one is under way, that one is the answer. `kluis import` makes a workspace of the file, here or elsewhere."},
		func(ctx context.Context, r commands.Request, _ *exportAsking) (*exportWritten, error) {
			done, err := a.Commands.RequestExport(ctx, r)
			if err != nil {
				return nil, err
			}
			body, err := a.showExport(ctx, r.By, done.State)
			return &exportWritten{commandHeaders(done.Position, done.State.Version), body}, err
		})
	lists(a, operation{Method: "GET", Path: "/api/export", ID: "list-exports", Tag: "export", Status: http.StatusOK,
		Summary: "List the exports", Access: needs(domain.ReadExport)}, projections.Exports,
		func(ctx context.Context, by projections.Actor, _ *listing, page projections.Page) ([]projections.Shown, projections.Mark, error) {
			return projections.Exports.ListShown(ctx, a.Projections, by, page, nil)
		})
	register(a, operation{Method: "GET", Path: "/api/export/{id}", ID: "get-export", Tag: "export", Status: http.StatusOK,
		Summary: "How far is an export, or was it?", Access: needs(domain.ReadExport)},
		gettingRow(a, projections.Exports, exportRow, func(ctx context.Context, by projections.Actor, id uuid.UUID) (exportShow, projections.Mark, error) {
			x, mark, err := projections.Exports.Get(ctx, a.Projections, by, id)
			if err != nil {
				return exportShow{}, mark, err
			}
			body, err := a.showExport(ctx, by, x)
			return body, mark, err
		}))
	register(a, operation{Method: "GET", Path: "/api/export/{id}/content", ID: "get-export-content", Tag: "export", Status: http.StatusOK,
		Summary: "Download the file of an export, or a part of it", Access: needs(domain.ReadExport), Produces: "application/zip", Parts: true,
		Description: "For whoever asked for the export, until it expires. Each download is an event of the log, which is there before the first byte."}, a.exportContent)
	register(a, operation{Method: "GET", Path: "/api/export/{id}/history", ID: "get-export-history", Tag: "export", Status: http.StatusOK,
		Summary: "Who asked for an export, how it ended, and who downloaded it", Access: needs(domain.ReadExport)}, history(a, projections.Exports))
}

var exportRow = rowOf(func(x exportShow) domain.Export { return x.Export }, func(x domain.Export) exportShow { return exportShow{Export: x} })

func (a *api) showExport(ctx context.Context, by projections.Actor, x domain.Export) (exportShow, error) {
	body := exportShow{Export: x, Progress: &commands.ExportCounts{}}
	run, err := a.Projections.GetExportRun(ctx, by.Workspace, x.ID)
	if err != nil || run == nil {
		return body, err
	}
	return body, json.Unmarshal(run, body.Progress)
}

func (a *api) exportContent(ctx context.Context, by projections.Actor, in *contentGet) (*contentShown, error) {
	x, content, err := a.Commands.DownloadExport(ctx, commands.Request{By: by, Origin: originOf(ctx)}, in.ID)
	if err != nil {
		return nil, err
	}
	file := domain.Attachment{Name: "kluis-" + x.CreatedAt.UTC().Format("2006-01-02") + ".zip", Type: "application/zip", Digest: x.Digest}
	return &contentShown{a.served(func(w http.ResponseWriter, r *http.Request) error {
		defer content.Close()
		return serveContent(w, r, file, content)
	})}, nil
}
