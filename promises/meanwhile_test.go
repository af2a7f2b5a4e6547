package promises

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/pg"
)

// asked is the id of what a request made; false when it was refused.
func (r reply) asked() (id uuid.UUID, is bool) {
	var made struct{ ID uuid.UUID }
	return made.ID, (r.status == 201 || r.status == 202) && json.Unmarshal(r.body, &made) == nil
}

// Whatever goes on in a workspace while it is erased, by way of another process, at each of the steps and between them: all of it is gone afterwards, and
// nothing comes back.
func TestErasedMeanwhile(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	for name, do := range map[string]func(t *testing.T, x *client){
		"export": func(t *testing.T, x *client) {
			if id, asked := x.call(t, "POST", "/api/export", object{}).asked(); asked {
				_ = x.commands.RunExport(t.Context(), x.workspace, id)
			}
		},
		"import": func(t *testing.T, x *client) {
			line := `{"at":"2011-08-19T08:13:00Z","actor":"p1","do":"task.create","task":"T-1","title":"imported"}`
			if id, asked := x.call(t, "POST", "/api/import?format=tracker", object{"file": file{"lines.ndjson", line}}).asked(); asked {
				_ = x.commands.RunImport(t.Context(), x.workspace, id)
			}
		},
		"log-in": func(t *testing.T, x *client) {
			x.logIn(t, x.password)
			x.public().call(t, "POST", "/api/password/forgot", object{"workspace": x.slug, "email": x.email})
		},
		"upload": func(t *testing.T, x *client) {
			if id, made := x.call(t, "POST", "/api/tasks", object{"title": "with a file"}).asked(); made {
				x.call(t, "POST", "/api/tasks/"+id.String()+"/attachments", object{"file": file{"invoice.txt", "invoice of " + x.slug}})
			}
		},
		"rebuild": func(t *testing.T, x *client) { _, _ = x.projections.Rebuild(t.Context(), x.workspace, nil) },
		"check":   func(t *testing.T, x *client) { _, _ = x.projections.Check(t.Context(), x.workspace, nil) },
		"analyst": func(t *testing.T, x *client) {
			if login, _, err := x.program.Tenancy.GrantAnalyst(t.Context(), x.slug, "bi", time.Now().Add(time.Hour)); err == nil {
				_ = x.program.Tenancy.RevokeAnalyst(t.Context(), login)
				_, _, _ = x.program.Tenancy.GrantAnalyst(t.Context(), x.slug, "bi", time.Now().Add(time.Hour))
			}
		},
		"state": func(t *testing.T, x *client) {
			_ = x.program.Tenancy.InState(t.Context(), x.workspace, func(ctx context.Context, s pg.Shadow) error {
				m, err := x.projections.MomentAt(ctx, x.workspace, 2)
				if err == nil {
					err = x.projections.FillState(ctx, s, m, nil)
				}
				if err == nil {
					_, _, err = x.program.Tenancy.OpenState(ctx, s)
				}
				return err
			})
		},
		"retention":  func(t *testing.T, x *client) { _, _ = x.commands.Prune(t.Context(), x.workspace, commands.Hearer{}) },
		"checkpoint": func(t *testing.T, x *client) { _, _, _ = x.commands.Checkpoint(t.Context(), x.workspace) },
		"sweep":      func(t *testing.T, x *client) { _, _ = x.jobs.SweepBlobs(t.Context(), time.Now()) },
	} {
		t.Run(name, func(t *testing.T) { // one after the other: each looks everywhere
			ada := newFurnished(t, p[0])
			there := ada.on(p[1])
			do(t, there)
			if _, err := p[0].commands.OperatorErase(t.Context(), ada.workspace, ada.slug, true); err != nil {
				t.Fatal(err)
			}
			var working sync.WaitGroup
			working.Go(func() {
				for range 3 {
					do(t, there)
				}
			})
			err := p[0].commands.RunErasure(t.Context(), ada.workspace, func(string) error { do(t, there); return nil })
			working.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p[0].jobs.SweepBlobs(t.Context(), time.Now()); err != nil { // what was on its way is swept behind
				t.Error(err)
			}
			ada.checkGone(t, p[0])
		})
	}
}
