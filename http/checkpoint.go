package http

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/projections"
)

type (
	// WhichCheckpoint chooses one.
	WhichCheckpoint struct {
		Cosigned bool `query:"cosigned" doc:"The newest checkpoint that as many witnesses as the operator of Kluis wants have cosigned, rather than one of the log as it is now; where there is none, the newest that any has. 404 not_cosigned when there is none at all."`
	}
	proofOf struct {
		WhichCheckpoint
		Position int64 `path:"position" minimum:"1" doc:"The record."`
	}
	growthOf struct {
		From int64 `query:"from" minimum:"1" required:"true" doc:"How many records the older checkpoint has."`
		To   int64 `query:"to" minimum:"1" doc:"How many the newer one has; left out: all there are."`
	}
	textShown struct { // as Streamed is
		Position int64 `header:"Kluis-Position" doc:"How many records the checkpoint has."`
		Body     func(huma.Context)
	}
)

const plainText = "text/plain; charset=utf-8"

func logCheckpoint(a *api) {
	register(a, operation{Method: "GET", Path: "/api/audit/checkpoint", ID: "get-audit-checkpoint", Tag: "audit", Status: http.StatusOK,
		Summary: "Get a signed checkpoint of the log as it is now", Access: needs(domain.ReadAudit), Produces: plainText,
		Description: "A signed note (C2SP tlog-checkpoint, Ed25519): the log's origin, how many records it has, and the root hash of the Merkle tree (RFC 6962) over the lines that a replay serves. " +
			"Where witnesses are set, the lines of those that have cosigned it follow (C2SP tlog-cosignature). " +
			"Keep it: it tells later whether anything of the log of now was changed. 409 `log_forked`: the log does not go on from the checkpoint that was signed last."},
		func(ctx context.Context, by projections.Actor, in *WhichCheckpoint) (*textShown, error) {
			signed, at, err := a.Commands.CheckpointToShow(ctx, by.Workspace, in.Cosigned)
			return a.text(string(signed), at), err
		})
	register(a, operation{Method: "GET", Path: "/api/audit/proof/{position}", ID: "get-audit-proof", Tag: "audit", Status: http.StatusOK,
		Summary: "Get the proof that a record is in the log", Access: needs(domain.ReadAudit), Produces: plainText,
		Description: "A receipt (C2SP tlog-proof) that is kept beside the record's line and checked without Kluis. Its index is the position less one. Proofs of records that were pruned are given, too; 410 `pruned` for those that were pruned before the log was loaded from an export."},
		func(ctx context.Context, by projections.Actor, in *proofOf) (*textShown, error) {
			text, at, err := a.Commands.InclusionProof(ctx, by.Workspace, in.Position, in.Cosigned)
			return a.text(text, at), err
		})
	register(a, operation{Method: "GET", Path: "/api/audit/consistency", ID: "get-audit-consistency", Tag: "audit", Status: http.StatusOK,
		Summary: "Get the proof that the log only grew between two sizes", Access: needs(domain.ReadAudit), Produces: plainText,
		Description: "The line `old` and the older size, the hashes of the proof (RFC 6962, 2.1.2) in base64, a line each, an empty line, and the signed checkpoint of the newer size: what a witness takes (C2SP tlog-witness)."},
		func(ctx context.Context, by projections.Actor, in *growthOf) (*textShown, error) {
			text, at, err := a.Commands.ConsistencyProof(ctx, by.Workspace, in.From, in.To)
			return a.text(text, at), err
		})
	register(a, operation{Method: "GET", Path: "/api/audit/verifier-keys", ID: "get-audit-verifier-keys", Tag: "audit", Status: http.StatusOK,
		Summary: "Get the keys that verify checkpoints", Access: needs(domain.ReadAudit), Produces: plainText,
		Description: "A line each, as note tools take them (C2SP signed-note, vkey): those that sign now, then those of before. Get them once, when you begin, and keep them away from Kluis: keys that come with what they verify prove nothing."},
		func(ctx context.Context, by projections.Actor, _ *struct{}) (*verifierKeys, error) {
			keys, err := a.Commands.VerifierKeys(ctx, by.Workspace)
			return &verifierKeys{Body: a.whole(strings.Join(append(keys, ""), "\n"))}, err
		})
}

type verifierKeys struct { // as Streamed is
	Body func(huma.Context)
}

// text answers with a text that contains a checkpoint.
func (a *api) text(text string, at checkpoint.Checkpoint) *textShown {
	return &textShown{Position: at.Size, Body: a.whole(text)}
}

// whole is a Body of one text, sent at once.
func (a *api) whole(text string) func(huma.Context) {
	return a.streamed(false, func(_ context.Context, w *stream) error {
		_, err := io.WriteString(w, text)
		return err
	})
}
