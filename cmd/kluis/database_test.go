package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/migrations"
	"github.com/kluis-eu/kluis/projections"
)

// provisionMany makes empty workspaces, and leaves no connection open.
func provisionMany(t *testing.T, url string, n int) {
	t.Helper()
	db, err := pg.Open(t.Context(), url, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	directory.Shape = projections.Shape // as the program has it: else the background rebuilds them all
	nothing := func(pgx.Tx) error { return nil }
	for range n {
		id := uuid.Must(uuid.NewV7())
		if err := directory.Provision(t.Context(), id, "w-"+id.String(), "be", nothing, nothing); err != nil {
			t.Fatal(err)
		}
	}
}

// transactionsIn counts the transactions in a home's database for a while, asking from another database.
func transactionsIn(t *testing.T, h *home, d time.Duration) int64 {
	t.Helper()
	there := h.superuserURL(t)
	config, err := pgx.ParseConfig(there)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := pgserver.WithDatabase(there, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	count := func() (n int64) {
		if err := admin.QueryRow(t.Context(), `select xact_commit + xact_rollback from pg_stat_database where datname = $1`, config.Database).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	time.Sleep(d)
	return count() - before
}

// fillLog writes tasks with three events each straight into a workspace's log.
func fillLog(t *testing.T, h *home, slug string, tasks int) {
	t.Helper()
	ctx, admin := t.Context(), h.superuser(t)
	s := schema(t, admin, slug)
	var position int64
	var actor uuid.UUID
	if err := admin.QueryRow(ctx, `select (select position from `+s+`.head), (select id from `+s+`.member limit 1)`).Scan(&position, &actor); err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	now := time.Now().UTC().Truncate(time.Microsecond)
	add := func(stream string, version int, kind, data string) {
		position++
		rows = append(rows, []any{position, uuid.Must(uuid.NewV7()), stream, version, kind, now, actor, data})
	}
	for i := range tasks {
		stream := "task-" + uuid.Must(uuid.NewV7()).String()
		add(stream, 1, "task.created", fmt.Sprintf(`{"title":"bulk %d","status":"open","priority":"none"}`, i))
		add(stream, 2, "task.updated", `{"priority":"high"}`)
		add(stream, 3, "task.completed", `{}`)
	}
	columns := []string{"position", "id", "stream", "version", "type", "at", "actor", "data"}
	if _, err := admin.CopyFrom(ctx, pgx.Identifier{s, "event"}, columns, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec(ctx, `update `+s+`.head set position = $1, at = $2`, position, now); err != nil {
		t.Fatal(err)
	}
}
