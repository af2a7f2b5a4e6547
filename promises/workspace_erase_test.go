package promises

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
)

// certificate waits until the workspace is erased.
func (c *client) certificate(t *testing.T) (signed string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := c.db.Control(t.Context(), func(tx pgx.Tx) error {
			return tx.QueryRow(t.Context(), `select coalesce((select certificate from kluis.erasure where workspace_id = $1), '')`, c.workspace.ID).Scan(&signed)
		}); err != nil {
			t.Fatal(err)
		}
		if signed != "" {
			return signed
		}
	}
	t.Fatal("the workspace was not erased in time")
	return ""
}

type erasedWorkspace struct {
	ErasesAt         *time.Time `json:"erases_at"`
	ErasureConfirmed bool       `json:"erasure_confirmed"`
}

// A workspace is erased after a time in which any admin can cancel, or soon when a second admin, who was one before, confirms it.
func TestWhoErasesAWorkspace(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)[0]
	ada := p.signUp(t)
	bob := ada.member(t, "member")
	eve := ada.member(t, "admin")
	ada.call(t, "DELETE", "/api/workspace", object{"confirm": "another"}).problem(t, 422, "invalid")
	bob.call(t, "DELETE", "/api/workspace", object{"confirm": ada.slug}).problem(t, 403, "forbidden")
	script, _ := ada.newToken(t, domain.Grant{Resource: "workspace", Action: "delete", Scope: domain.All})
	script.call(t, "DELETE", "/api/workspace", object{"confirm": ada.slug}).problem(t, 403, "session_required")

	ask := func(c *client) erasedWorkspace {
		return decode[erasedWorkspace](t, c.call(t, "DELETE", "/api/workspace", object{"confirm": ada.slug}).want(t, http.StatusAccepted))
	}
	asked := ask(ada)
	if left := time.Until(*asked.ErasesAt); left < 71*time.Hour || left > 72*time.Hour || asked.ErasureConfirmed {
		t.Errorf("%+v", asked)
	}
	if again := ask(ada); !again.ErasesAt.Equal(*asked.ErasesAt) || again.ErasureConfirmed {
		t.Errorf("whoever asked confirms it, too: %+v", again)
	}
	for _, admin := range []*client{ada, eve} {
		p.waitForMail(t, "workspace_erasure", admin.email)
	}
	if shown := decode[erasedWorkspace](t, bob.call(t, "GET", "/api/workspace", nil).want(t, 200)); !shown.ErasesAt.Equal(*asked.ErasesAt) {
		t.Errorf("it is served, and says %+v", shown)
	}
	late := ada.member(t, "admin")
	late.call(t, "DELETE", "/api/workspace", object{"confirm": ada.slug}).problem(t, 409, "admin_too_new")
	if confirmed := ask(eve); !confirmed.ErasureConfirmed || time.Until(*confirmed.ErasesAt) > 5*time.Minute {
		t.Errorf("%+v", confirmed)
	}
	if kept := decode[erasedWorkspace](t, late.call(t, "DELETE", "/api/workspace/erasure", nil).want(t, 200)); kept.ErasesAt != nil || kept.ErasureConfirmed {
		t.Errorf("%+v", kept)
	}
	ada.call(t, "DELETE", "/api/workspace/erasure", nil).want(t, 200)
	ada.newTask(t)
	ada.judge(t)
	ada.noDrift(t)
}

// waitForMail waits until a mail of a template to an address is asked for.
func (p *process) waitForMail(t *testing.T, template, address string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if p.mailed(t, template, address) {
			return
		}
	}
	t.Fatalf("no mail %s to %s", template, address)
}

// newFurnished makes a workspace with something everywhere.
func newFurnished(t *testing.T, p *process) *client {
	t.Helper()
	ada := p.signUp(t)
	bob := ada.member(t, "admin")
	bob.enrol(t)
	task := ada.newTask(t)
	ada.attach(t, task, "invoice of "+ada.slug+".pdf", "%PDF-1.4 content of "+ada.slug)
	ada.call(t, "GET", "/api/audit/checkpoint", nil).want(t, 200)
	ada.logIn(t, "wrong "+uuid.NewString())
	return ada
}

// checkGone checks that nothing of a workspace is left but what says that there was one.
func (c *client) checkGone(t *testing.T, p *process) {
	t.Helper()
	for schema := range p.tables(t) {
		if strings.HasPrefix(schema, c.workspace.Schema()) {
			t.Errorf("there is still the schema %s", schema)
		}
	}
	var roles []string
	if err := p.db.Control(t.Context(), func(tx pgx.Tx) error {
		rows, _ := tx.Query(t.Context(), `select rolname::text from pg_roles where starts_with(rolname, $1)`, c.workspace.Schema())
		var err error
		roles, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}); err != nil || len(roles) > 0 {
		t.Errorf("there are still the roles %v, %v", roles, err)
	}
	for _, f := range p.everywhere(t, c.email, c.name, "Works of "+c.slug, "invoice of "+c.slug) {
		t.Errorf("%q is still in %s", f.Text, f.Place)
	}
	for _, f := range p.everywhere(t, c.workspace.ID.String()) {
		if f.Place != "kluis.workspace" && f.Place != "kluis.place" && f.Place != "kluis.erasure" && !strings.Contains(f.Place, "/erasures/") && !strings.Contains(f.Place, "/certificates/") {
			t.Errorf("its id is still in %s", f.Place)
		}
	}
}

// When a workspace is erased everything of it is gone, everywhere, and a signed certificate says what was there. Other workspaces notice nothing.
func TestErasedWorkspace(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.grace = 50 * time.Millisecond
	p := []*process{s.newProcess(t, true), s.newProcess(t, true)}
	ada, other := newFurnished(t, p[0]), newFurnished(t, p[1])
	if _, _, err := p[0].program.Tenancy.GrantAnalyst(t.Context(), ada.slug, "bi", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	head := ada.head(t)
	ada.call(t, "DELETE", "/api/workspace", object{"confirm": ada.slug}).want(t, http.StatusAccepted)
	signed := ada.certificate(t)
	certificate, err := checkpoint.OpenErasure([]byte(signed), p[0].keys.PublicKeys())
	facts := map[string]string{}
	for _, f := range certificate.Facts {
		facts[f.Name] = f.Value
	}
	if err != nil || certificate.Workspace != ada.workspace.ID || facts["slug"] != ada.slug || facts["log-records"] != fmt.Sprint(head+1) || facts["log-root"] == "" ||
		facts["rows-event"] != facts["log-records"] || facts["rows-member"] != "2" || facts["blobs"] != "1" || facts["analysts"] != "1" || facts["erased-at"] == "" {
		t.Errorf("%s, %v", signed, err)
	}
	ada.checkGone(t, p[0])
	for _, q := range p {
		ada.on(q).call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
		ada.on(q).logIn(t, ada.password).problem(t, 401, "bad_credentials")
		other.on(q).newTask(t)
	}
	other.noDrift(t)
	again := &client{process: p[1], slug: ada.slug, email: "eve@" + ada.slug + ".example", name: "Eve", password: newPassword()}
	again.call(t, "POST", "/api/signup", again.wish()).problem(t, 409, "slug_taken")
}

// Whatever an erasure is killed behind, the next process goes on with it.
func TestErasureKilledAtEachStep(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := newFurnished(t, p)
	if _, err := p.commands.OperatorErase(t.Context(), ada.workspace, ada.slug, true); err != nil {
		t.Fatal(err)
	}
	var steps []string
	for len(steps) == 0 || steps[len(steps)-1] != "done" {
		if len(steps) == 10 {
			ada.failsToCertify(t, p)
		}
		q := p.site.newProcess(t, false) // which knows nothing of what the one before did
		err := q.commands.RunErasure(t.Context(), ada.workspace, func(step string) error {
			steps = append(steps, step)
			return context.Canceled // killed
		})
		if err == nil {
			t.Fatal("nothing was left to be done")
		}
		if steps[len(steps)-1] != "done" { // the step was done, and its note was lost
			if err := p.db.Control(t.Context(), func(tx pgx.Tx) error {
				before := ""
				if len(steps) > 1 {
					before = steps[len(steps)-2]
				}
				_, err := tx.Exec(t.Context(), `update kluis.erasure set step = $1 where workspace_id = $2`, before, ada.workspace.ID)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			last := steps[len(steps)-1]
			_ = q.commands.RunErasure(t.Context(), ada.workspace, func(step string) error {
				if step != last {
					t.Errorf("behind %v it goes on with %s", steps, step)
				}
				return context.Canceled
			})
		}
	}
	if len(steps) != 11 {
		t.Errorf("it has the steps %v", steps)
	}
	ada.certificate(t)
	ada.checkGone(t, p)
}

// failsToCertify checks that a workspace whose certificate cannot be kept is found by its slug, so that its erasure can be gone on with.
func (c *client) failsToCertify(t *testing.T, p *process) {
	t.Helper()
	inTheWay := filepath.Join(p.site.keptIn, "certificates") // where the folder would be
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.commands.RunErasure(t.Context(), c.workspace, func(string) error { return nil }); err == nil {
		t.Error("a certificate was kept that could not be")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if found, err := p.commands.Tenancy.BySlug(t.Context(), c.slug); err != nil || found.Status != "erasing" {
		t.Errorf("the workspace is %+v, %v", found, err)
	}
}

// Requests at the very moment at which a workspace is closed are answered, done or not, and never with 500; a cancellation that was answered
// holds.
func TestErasureUnderLoad(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	for range 3 {
		ada := p[0].signUp(t)
		if _, err := p[0].commands.OperatorErase(t.Context(), ada.workspace, ada.slug, true); err != nil {
			t.Fatal(err)
		}
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				for _, a := range []reply{ada.on(p[n%2]).call(t, "POST", "/api/tasks", object{"title": "x"}), ada.on(p[n%2]).logIn(t, ada.password), ada.on(p[n%2]).call(t, "GET", "/api/tasks", nil)} {
					if a.status >= 500 && a.status != 503 {
						t.Errorf("%s: %d %s", a.what, a.status, a.body)
					}
				}
			}
		}()
		time.Sleep(50 * time.Millisecond)
		cancelled := make(chan reply)
		go func() { cancelled <- ada.on(p[1]).call(t, "DELETE", "/api/workspace/erasure", nil) }()
		err := p[0].commands.RunErasure(t.Context(), ada.workspace, func(string) error { return nil })
		answer := <-cancelled
		close(stop)
		<-ended
		if err != nil {
			t.Fatal(err)
		}
		_, alive := p[0].program.Tenancy.BySlug(t.Context(), ada.slug)
		if kept := answer.status == 200; kept != (alive == nil) {
			t.Errorf("the cancellation was answered with %d, and the workspace: %v", answer.status, alive)
		}
	}
}

// What an older backup brings back is erased again before anybody is served: the ledger is outside of the database.
func TestLedgerAfterARestore(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada, eve := p.signUp(t), newFurnished(t, p)
	bob := ada.member(t, "member")
	for _, w := range []*client{ada, eve} { // what is in the ledger, and not in the database: as after a restore
		member := uuid.Nil
		if w == ada {
			member = bob.id
		}
		entry := checkpoint.NewErasure("", w.workspace.ID, member, time.Now())
		signed := must(entry.Sign(must(p.keys.Signers(entry.Name()))...))
		if err := p.site.kept.KeepErasure(t.Context(), entry, signed); err != nil {
			t.Fatal(err)
		}
	}
	q := p.site.newGatedProcess(t)
	bob.on(q).call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
	if counts := bob.rowsOf(t); len(counts) != 0 {
		t.Errorf("there are still rows in %v", counts)
	}
	ada.on(q).newTask(t)
	ada.on(q).noDrift(t)
	eve.on(q).call(t, "GET", "/api/me", nil).problem(t, 503, "workspace_closed")
	eve.on(q).logIn(t, eve.password).problem(t, 503, "workspace_closed")
	eve.certificate(t)
	eve.checkGone(t, p)

	mallory := p.signUp(t) // an entry that whoever can write to the store made up
	forged := checkpoint.NewErasure("", mallory.workspace.ID, uuid.Nil, time.Now())
	if err := p.site.kept.KeepErasure(t.Context(), forged, []byte(forged.Text()+"\n— kluis/erasures AAAAAAAA\n")); err != nil {
		t.Fatal(err)
	}
	r := p.site.newGatedProcess(t)
	mallory.on(r).call(t, "GET", "/api/me", nil).problem(t, 503, "erasures_unavailable")
	r.log.forget("is not signed by our keys")
	mallory.newTask(t)
}

// While the ledger cannot be read, a workspace is served for which it was heeded in this database, and no other; when it can be, all are.
func TestLedgerOutOfReach(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ada := s.newProcess(t, false).signUp(t)
	if err := os.Rename(s.keptIn, s.keptIn+".away"); err != nil {
		t.Fatal(err)
	}
	ledger := filepath.Join(s.keptIn+".away", "erasures")
	if err := os.WriteFile(ledger, nil, 0o600); err != nil { // where the folder would be
		t.Fatal(err)
	}
	s.kept = &checkpoint.Kept{Stores: []blob.Store{must(blob.Open(t.Context(), "file://"+s.keptIn+".away"))}}
	ada.on(s.newGatedProcess(t)).call(t, "GET", "/api/me", nil).want(t, 200)
	elsewhere := func() { // as after a backup was put back into a new database
		if err := ada.db.Control(t.Context(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `update kluis.workspace set heeded = 'another database' where id = $1`, ada.workspace.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere()
	q := s.newGatedProcess(t)
	ada.on(q).call(t, "GET", "/api/me", nil).problem(t, 503, "erasures_unavailable")
	if err := os.Remove(ledger); err != nil {
		t.Fatal(err)
	}
	if err := q.commands.ReadLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	ada.on(q).call(t, "GET", "/api/me", nil).want(t, 200)
	var heeded bool
	if err := ada.db.Control(t.Context(), func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `select heeded = kluis.incarnation() from kluis.workspace where id = $1`, ada.workspace.ID).Scan(&heeded)
	}); err != nil || !heeded {
		t.Errorf("that the ledger was heeded is not noted: %v", err)
	}
}

// newGatedProcess is a process with the background and the gate of `kluis serve`.
func (s *site) newGatedProcess(t *testing.T) *process {
	t.Helper()
	q := s.openProcess(t, patient)
	_ = q.commands.ReadLedger(t.Context()) // or it is tried again
	q.db.SetGate(q.commands.Gate(func(context.Context, pg.Workspace, error) error { return nil }))
	q.start(t, true)
	return q
}

// mailed tells whether a mail of a template to an address was asked for.
func (p *process) mailed(t tester, template, address string) bool {
	t.Helper()
	rows, _ := p.db.Pool().Query(context.Background(), `select args ->> 'sealed' from kluis_jobs.river_job where kind = 'mail' and args ? 'sealed'`)
	for _, sealed := range must(pgx.CollectRows(rows, pgx.RowTo[string])) {
		var m struct{ Template, To string }
		if err := json.Unmarshal(must(p.keys.Open("kluis/mail", sealed)), &m); err != nil {
			t.Fatal(err)
		}
		if m.Template == template && m.To == address {
			return true
		}
	}
	return false
}
