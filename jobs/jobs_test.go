package jobs

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// The whole way: codes arrive by mail, and read models keep up although nobody reads them.
func TestRun(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	stop := p.run(t, p.Run)
	ada := p.found(t, p.mailedCode)
	p.invite(t, ada, "grace@example.org")
	ws, _, err := p.Views.GetWorkspace(t.Context(), ada.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	joined, err := p.Commands.AcceptInvitation(t.Context(), ws.Slug, "grace@example.org", p.mailedCode(t, "grace@example.org"), plain+" too")
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

func TestNoCatchUp(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	ada := p.found(t, p.waitingCode)
	p.NoCatchUp = true
	p.run(t, p.follow)
	p.invite(t, ada, "grace@example.org")
	until(t, "the mail waits", func() bool { return len(p.enqueued(t, "invitation_code")["grace@example.org"]) == 1 && p.signals(t) == 0 })
}

// What all of it costs while nothing happens.
func TestIdleJobsAreCheap(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	for range 3 {
		p.found(t, p.waitingCode)
	}
	stop := p.run(t, p.follow)
	until(t, "signals are handled", func() bool { return p.signals(t) == 0 })
	stop()
	if _, err := p.DB.Pool().Exec(t.Context(), `delete from kluis_jobs.river_job`); err != nil {
		t.Fatal(err)
	}
	p.store.Close()
	p.DB.Close()

	admin, err := pgx.Connect(t.Context(), pgtest.Superuser(t, pgtest.Database(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	measure := func(seconds time.Duration) int {
		before := transactions(t, admin, p.url)
		idle := start(t, p.url, p.keyFile)
		stop := idle.run(t, idle.Run)
		time.Sleep(seconds * time.Second)
		stop()
		idle.DB.Close()
		return transactions(t, admin, p.url) - before
	}
	short, long := measure(1), measure(5)
	t.Logf("%d transactions in 1 s, %d in 5 s", short, long)
	if each := (long - short) / 4; each > 5 {
		t.Errorf("%d transactions in an idle second", each)
	}
}

// transactions counts those that a database has seen. Backends report when they end, so it waits for that.
func transactions(t *testing.T, admin *pgx.Conn, url string) (n int) {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the connections have ended", func() bool {
		var left int
		if err := admin.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = $1 and backend_type = 'client backend'`,
			config.Database).Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
	if err := admin.QueryRow(t.Context(), `select xact_commit + xact_rollback from pg_stat_database where datname = $1`, config.Database).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
