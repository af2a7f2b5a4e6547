package promises

import (
	"testing"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// Through PgBouncer in transaction mode, with the plain URL and no more connections than the start asks for: sign-up, mail,
// log-in, commands, reads of many at once, the background and a rebuild.
func TestThroughAPooler(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.url = pgtest.Bouncer(t, s.url, 4)
	p := s.newProcess(t, true)
	if err := p.db.CheckPooler(t.Context()); err != nil {
		t.Fatal(err)
	}
	ada := p.signUp(t)
	bob := ada.member(t, "viewer")
	ada.logIn(t, ada.password).want(t, 200)
	var tasks [12]domain.Task
	parallel(len(tasks), func(i int) {
		tasks[i] = ada.newTask(t)
		ada.call(t, "GET", taskPath(tasks[i]), nil).want(t, 200)
		ada.call(t, "GET", "/api/members", nil).want(t, 200)
		bob.call(t, "GET", taskPath(tasks[i]), nil).want(t, 404)
	})
	if n := len(pages[object](t, ada, "/api/tasks", 5)); n != len(tasks) {
		t.Errorf("%d tasks, want %d", n, len(tasks))
	}
	if _, err := p.projections.Rebuild(t.Context(), ada.workspace, nil); err != nil {
		t.Error(err)
	}
	ada.noDrift(t)
	if n := len(ada.log(t)); n < len(tasks)+2 {
		t.Errorf("%d events", n)
	}
}
