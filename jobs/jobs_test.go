package jobs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// The whole way: codes arrive by mail, and read models keep up although nobody reads them.
func TestRun(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	stop := p.run(t, p.Run)
	ada := p.found(t, p.mailedCode)
	p.invite(t, ada, "grace@example.org")
	ws, _, err := p.Projections.GetWorkspace(t.Context(), ada.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	joined, err := p.Commands.AcceptInvitation(t.Context(), commands.Origin{}, ws.Slug, "grace@example.org", p.mailedCode(t, "grace@example.org"), plain+" too")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Commands.Authenticate(t.Context(), joined.Token); err != nil {
		t.Error(err)
	}
	p.invite(t, ada, "edsger@example.org")
	until(t, "everything is caught up", func() bool {
		head, checkpoint, reaction := p.positions(t, ada.Workspace)
		return head == 5 && checkpoint == head && reaction == head && p.signals(t) == 0
	})
	p.mailedCode(t, "edsger@example.org")
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("idle, it took %s to stop", took)
	}
	for _, secret := range []string{"grace@", "edsger@", "Hopper", "Lovelace"} {
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// When the server throws everybody out, everything goes on by itself.
func TestRunSurvivesLostConnections(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.run(t, p.Run)
	ada := p.found(t, p.mailedCode)
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, p.url))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	for i := range 2 {
		if _, err := admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("m%d@example.org", i)
		until(t, "an invitation", func() bool {
			_, err := p.Commands.InviteMember(t.Context(), commands.Request{By: ada}, commands.Invitation{Email: address, FullName: "Grace Hopper", Role: "member"})
			return err == nil
		})
		p.mailedCode(t, address)
	}
	if n := len(p.enqueued(t, "invitation_code")); n != 2 {
		t.Errorf("mails to %d addresses, want 2", n)
	}
}

// A process begins while the database takes nobody, as during a restart, and works when it does again.
func TestRunBeginsWithoutDatabase(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, p.url))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	var name string
	if err := admin.QueryRow(t.Context(), `select current_database()`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	takes := func(takes bool) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), `update pg_database set datallowconn = $1 where datname = $2`, takes, name); err != nil {
			t.Fatal(err)
		}
	}
	takes(false)
	if _, err := admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	p.run(t, p.Run)
	until(t, "the first attempts have failed", func() bool { return strings.Count(p.log.String(), "mails cannot be sent yet") >= 2 })
	takes(true)
	ada := p.found(t, p.mailedCode)
	until(t, "everything is caught up", func() bool {
		head, checkpoint, reaction := p.positions(t, ada.Workspace)
		return checkpoint == head && reaction == head && p.signals(t) == 0
	})
}

// The read models can be left to their readers, while everything else goes on.
func TestNoCatchUp(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	ada := p.found(t, p.waitingCode)
	p.NoCatchUp = true
	p.run(t, p.follow)
	p.invite(t, ada, "grace@example.org")
	until(t, "the mail waits", func() bool { return len(p.enqueued(t, "invitation_code")["grace@example.org"]) == 1 })
	_, err := p.store.Append(t.Context(), ada.Workspace, eventstore.Append{Writes: []eventstore.Write{
		{Stream: "thing-1", Events: []eventstore.Event{{Type: "thing.done", Data: []byte(`{}`)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the signals are handled", func() bool { return p.signals(t) == 0 })
	if head, checkpoint, reaction := p.positions(t, ada.Workspace); reaction != head || checkpoint == head {
		t.Errorf("head %d, checkpoint %d, reactions %d", head, checkpoint, reaction)
	}
}

// What all of it costs while nothing happens: a look for signals a second, and River's looks.
func TestIdleJobsAreCheap(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	for range 3 {
		p.found(t, p.waitingCode)
	}
	p.run(t, p.Run)
	until(t, "signals are handled", func() bool { return p.signals(t) == 0 })
	var n int
	for range 10 { // River begins with questions of its own, which on a busy machine takes a while
		if n = asked(t, p.url, 5*time.Second); n >= 4 && n <= 20 {
			return
		}
	}
	t.Errorf("asked %d times in 5 idle seconds", n)
}

// asked counts how often the connections to a database have asked for something, as far as looking often shows.
func asked(t *testing.T, url string, d time.Duration) int {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, pgtest.Database(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	seen, before := map[string]bool{}, 0
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		rows, _ := admin.Query(t.Context(), `select pid || ' ' || query_start from pg_stat_activity
			where datname = $1 and backend_type = 'client backend' and query_start is not null`, config.Database)
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			seen[one] = true
		}
		if before == 0 {
			before = len(seen)
		}
	}
	return len(seen) - before
}
