package http

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/google/uuid"
)

// noteRefusals tells the log what a member was refused, once the request is answered. Whoever shows no token that is good is nobody's
// member, and leaves nothing in any log.
func (a *api) noteRefusals(ctx huma.Context) {
	x := exchangeOf(ctx.Context())
	if x.actor == nil || x.claim != nil || len(x.refusals) == 0 {
		return
	}
	op := ctx.Operation()
	noun, thing := thingOfPath(op.Path, humaecho.UnwrapV4(ctx).Param("id"))
	for _, refused := range x.refusals {
		a.Commands.NoteRefused(*x.actor, originOf(ctx.Context()), op.OperationID, refused, noun, thing)
	}
}

// thingOfPath is the thing that a path such as "/api/time-entries/{id}" names: its noun in the words of events, and its id; empty and
// uuid.Nil for a path that names none, or by a text that is no id.
func thingOfPath(path, text string) (noun string, id uuid.UUID) {
	before, _, named := strings.Cut(path, "/{id}")
	id, err := uuid.Parse(text)
	if !named || err != nil {
		return "", uuid.Nil
	}
	noun = strings.ReplaceAll(before[strings.LastIndexByte(before, '/')+1:], "-", "_")
	if stem, plural := strings.CutSuffix(noun, "ies"); plural {
		return stem + "y", id
	}
	return strings.TrimSuffix(noun, "s"), id
}
