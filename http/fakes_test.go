package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

// What a noun's file looks like: a thing to list, create and patch, and some operations that go wrong.

type thing struct {
	ID        uuid.UUID    `json:"id"`
	Title     string       `json:"title"`
	DueOn     *domain.Date `json:"due_on"`
	ParentID  *uuid.UUID   `json:"parent_id"`
	CreatedAt time.Time    `json:"created_at"`
}

type (
	listThingsInput struct {
		Listing[int]
		Status string      `query:"status" enum:"open,done"`
		AsOf   time.Time   `query:"as_of"`
		Parent uuid.UUID   `query:"parent_id"`
		DueOn  domain.Date `query:"due_on"`
	}
	listThingsOutput struct {
		Shown
		Body page[thing]
	}
	thingOutput struct {
		Written
		Body thing
	}
	createThingInput struct {
		Idempotent
		Body struct {
			Title    string      `json:"title" minLength:"1" maxLength:"20"`
			Count    int         `json:"count,omitempty"`
			DueOn    domain.Date `json:"due_on,omitempty"`
			At       time.Time   `json:"at,omitzero"`
			TagIDs   []uuid.UUID `json:"tag_ids,omitempty" maxItems:"50"`
			Children []struct {
				Name string `json:"name" maxLength:"5"`
			} `json:"children,omitempty"`
		}
	}
	patchThingInput struct {
		Conditional
		ID   uuid.UUID `path:"id"`
		Body struct {
			Title    optional[string]      `json:"title,omitzero" minLength:"1" maxLength:"20"`
			DueOn    nullable[domain.Date] `json:"due_on,omitzero"`
			ParentID nullable[uuid.UUID]   `json:"parent_id,omitzero"`
			Owner    optional[uuid.UUID]   `json:"owner,omitzero"`
		}
	}
	failInput struct {
		How string `path:"how"`
	}
	noteOutput struct {
		Body struct {
			Note string `json:"note"`
		}
	}
)

func note(format string, args ...any) *noteOutput {
	out := &noteOutput{}
	out.Body.Note = fmt.Sprintf(format, args...)
	return out
}

func fakes(a *api) {
	register(a, operation{
		Method: http.MethodGet, Path: "/api/things", ID: "list-things", Tag: "thing", Status: http.StatusOK,
		Summary: "List things", Access: needs(domain.ReadTask),
	}, listThings)
	register(a, operation{
		Method: http.MethodPost, Path: "/api/things", ID: "create-thing", Tag: "thing", Status: http.StatusCreated,
		Summary: "Create a thing", Access: needs(domain.CreateTask),
	}, func(_ context.Context, _ projections.Actor, in *createThingInput) (*thingOutput, error) {
		return &thingOutput{Written: commandHeaders(7, 1), Body: thing{ID: uuid.Must(uuid.NewV7()), Title: in.Body.Title}}, nil
	})
	register(a, operation{
		Method: http.MethodPatch, Path: "/api/things/{id}", ID: "patch-thing", Tag: "thing", Status: http.StatusOK,
		Summary: "Change a thing", Access: needs(domain.UpdateTask),
	}, patchThing)
	register(a, operation{
		Method: http.MethodDelete, Path: "/api/things/{id}", ID: "delete-thing", Tag: "thing", Status: http.StatusNoContent,
		Summary: "Delete a thing", Access: needs(domain.DeleteTask),
	}, func(context.Context, projections.Actor, *struct {
		ID uuid.UUID `path:"id"`
	}) (*struct{ Written }, error) {
		return &struct{ Written }{commandHeaders(9, 0)}, nil
	})
	register(a, operation{
		Method: http.MethodPost, Path: "/api/things/{id}/complete", ID: "complete-thing", Tag: "thing", Status: http.StatusOK,
		Summary: "Complete a thing", Access: signedIn,
	}, func(_ context.Context, by projections.Actor, in *struct {
		ID uuid.UUID `path:"id"`
	}) (*noteOutput, error) {
		return note("%s by %s", in.ID, by.Member), nil
	})
	register(a, operation{
		Method: http.MethodGet, Path: "/api/replay", ID: "replay", Tag: "audit", Status: http.StatusOK,
		Summary: "Follow the log", Access: needs(domain.ReadAudit), Produces: "application/x-ndjson",
	}, func(_ context.Context, _ projections.Actor, in *struct {
		Follow bool `query:"follow"`
		Break  bool `query:"break"`
	}) (*Streamed, error) {
		return &Streamed{Body: a.streamed(in.Follow, func(ctx context.Context, w *stream) error {
			_, err := io.WriteString(w, "{\"position\":1}\n")
			if err := errors.Join(err, w.Flush()); err != nil {
				return err
			}
			if in.Break {
				return errors.New("secret-detail")
			}
			if in.Follow {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})}, nil
	})
	registerPublic(a, operation{
		Method: http.MethodGet, Path: "/api/fail/{how}", ID: "fail", Tag: "thing", Status: http.StatusOK,
		Summary: "Fail", Access: public,
	}, fail)
}

func listThings(_ context.Context, _ projections.Actor, in *listThingsInput) (*listThingsOutput, error) {
	var rows []thing
	for i := in.Cursor.After; i < 60 && len(rows) <= in.Limit; i++ {
		rows = append(rows, thing{Title: fmt.Sprint(i + 1)})
	}
	return &listThingsOutput{
		Shown: queryHeadersAt(60, 0, 0),
		Body: paged(rows, in.Listing, func(t thing) (n int) {
			_, _ = fmt.Sscan(t.Title, &n)
			return n
		}),
	}, nil
}

func patchThing(_ context.Context, _ projections.Actor, in *patchThingInput) (*noteOutput, error) {
	b := in.Body
	text := fmt.Sprintf("version %s;", cmp.Or(strings.Trim(fmt.Sprint(in.IfMatch.Versions), "[]"), "0"))
	if b.Title.Value != nil {
		text += " title " + *b.Title.Value
	}
	if b.DueOn.Set && b.DueOn.Value == nil {
		text += " no due_on"
	} else if b.DueOn.Set {
		text += " due_on " + string(*b.DueOn.Value)
	}
	if b.ParentID.Value != nil {
		text += " parent " + b.ParentID.Value.String()
	}
	return note("%s", text), nil
}

func fail(ctx context.Context, in *failInput) (*noteOutput, error) {
	switch in.How {
	case "panic":
		panic("secret-detail in a panic")
	case "abort":
		panic(http.ErrAbortHandler)
	case "unknown":
		return nil, errors.New(`ERROR: relation "secret-detail" does not exist (SQLSTATE 42P01)`)
	case "wrapped":
		return nil, fmt.Errorf("secret-detail: %w", domain.Refuse(domain.Conflict, "last_admin", "there must be an admin"))
	case "fields":
		return nil, domain.InvalidField("/title", "is taken")
	case "wait":
		return nil, &domain.Error{Kind: domain.TooMany, Code: "locked", Detail: "too many attempts", RetryAfter: 1500 * time.Millisecond, Limit: "login_account"}
	case "later":
		return nil, domain.Refuse(domain.Unavailable, "busy", "all slots are taken")
	case "kindless":
		return nil, &domain.Error{Code: "secret-detail", Detail: "secret-detail"}
	case "deadline":
		return nil, fmt.Errorf("secret-detail: %w", context.DeadlineExceeded)
	case "canceled":
		<-ctx.Done()
		return nil, fmt.Errorf("secret-detail: %w", ctx.Err())
	case "unencodable":
		return nil, nil
	}
	return note("client %s agent %s", clientOf(ctx), agentOf(ctx)), nil
}
