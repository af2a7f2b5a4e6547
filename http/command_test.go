package http

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
)

type renameV1 struct {
	Conditional
	ID   uuid.UUID `path:"id"`
	Body struct {
		Title string `json:"title"`
		Count int    `json:"count,omitempty"`
	}
}

// renameV2 is the same input in a later version of this program.
type renameV2 struct {
	Conditional
	Thing uuid.UUID `path:"id"`
	Body  struct {
		Name  string           `json:"title"`
		Count int              `json:"count,omitempty"`
		Owner *uuid.UUID       `json:"owner" required:"false"`
		Note  nullable[string] `json:"note,omitzero"`
	}
}

// onces is a command that keeps what it was asked for, and under which key.
func onces[I any, P conditioned[I]](got *[]commands.Once) func(*api) {
	return func(a *api) {
		command(a, operation{
			Method: http.MethodPatch, Path: "/api/things/{id}", ID: "patch-thing", Tag: "thing", Status: http.StatusNoContent,
			Summary: "Change a thing", Access: needs(domain.UpdateTask),
		}, func(_ context.Context, r commands.Request, _ P) (*written204, error) {
			*got = append(*got, *r.Once)
			return &written204{}, nil
		})
	}
}

// What a key was used for is what was sent, not what this version of the program reads out of it: a repeat that reaches
// the next version is the same request.
func TestFingerprintIsOfWhatWasSent(t *testing.T) {
	var got []commands.Once
	before, after := newSite(t, onces[renameV1](&got)), newSite(t, onces[renameV2](&got))
	const key = "Idempotency-Key: k"
	ask := func(s *site, path, body string, more ...string) commands.Once {
		t.Helper()
		if a := s.ask("PATCH", path, body, append(more, key)...); a.StatusCode != http.StatusNoContent {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		return got[len(got)-1]
	}
	first := ask(before, someThing, `{"title":"é<x","count":9007199254740993}`)
	for what, same := range map[string]commands.Once{
		"the next version": ask(after, someThing, `{"title":"é<x","count":9007199254740993}`),
		"another spelling": ask(before, someThing, " {\"count\": 9007199254740993,\n\"title\": \"\\u00e9\\u003cx\"} "),
		"any version":      ask(before, someThing, `{"title":"é<x","count":9007199254740993}`, "If-Match: *"),
		"an escape in it":  ask(before, strings.Replace(someThing, "/0", "/%30", 1), `{"title":"é<x","count":9007199254740993}`),
	} {
		if same != first {
			t.Errorf("%s: it is another request", what)
		}
	}
	for what, other := range map[string]commands.Once{
		"another body":          ask(before, someThing, `{"title":"é<y","count":9007199254740993}`),
		"nearly the same count": ask(before, someThing, `{"title":"é<x","count":9007199254740992}`),
		"another path":          ask(before, "/api/things/"+otherID, `{"title":"é<x","count":9007199254740993}`),
		"a version":             ask(before, someThing, `{"title":"é<x","count":9007199254740993}`, `If-Match: "1"`),
	} {
		if other.Key != first.Key || other.Fingerprint == first.Fingerprint {
			t.Errorf("%s: it is the same request", what)
		}
	}
}
