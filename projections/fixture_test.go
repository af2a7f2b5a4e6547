package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// process is the projections of one process on a database.
type process struct {
	*Projections
	url     string
	tenancy *tenancy.Tenancy
}

// ListTasks is ShowTasks with decoded states, and with tags as they were given.
func (p *Projections) ListTasks(ctx context.Context, by Actor, f TaskFilter, page Page) ([]domain.Task, Mark, error) {
	return Tasks.List(ctx, p, by, page, f)
}

func newProcess(t testing.TB) *process {
	t.Helper()
	return start(t, pgtest.Clone(t, "projections", func(url string) error {
		db, err := pg.Open(context.Background(), url, 2)
		if err != nil {
			return err
		}
		defer db.Close()
		directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
		if err != nil {
			return err
		}
		return directory.Migrate(context.Background(), nil)
	}), Bound)
}

// start starts one more process on the same database.
func start(t testing.TB, url string, bound time.Duration) *process {
	t.Helper()
	db, err := pg.Open(context.Background(), url, 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	bell := eventstore.NewBell()
	store := eventstore.New(db, bell)
	t.Cleanup(store.Close)
	return &process{Projections: New(db, store, bell, bound), url: url, tenancy: directory}
}

// found founds a workspace with an admin, and gives the admin with a session. No event is folded yet.
func (p *process) found(t testing.TB) Actor {
	t.Helper()
	w, member := pg.Workspace{ID: uuid.Must(uuid.NewV7())}, uuid.Must(uuid.NewV7())
	slug := "w-" + w.ID.String()
	nothing := func(pgx.Tx) error { return nil }
	if err := p.tenancy.Provision(context.Background(), w.ID, slug, "be", nothing, nothing); err != nil {
		t.Fatal(err)
	}
	p.append(t, w, member, domain.WorkspaceStream(w.ID), 0, domain.WorkspaceCreated{Slug: slug, Name: "Acme", Plan: "free", Region: "be"})
	p.append(t, w, member, domain.RosterStream, 0, domain.MemberAdded{MemberID: member, Email: "sealed", FullName: "sealed too", Role: domain.Admin})
	role, _ := domain.BuiltInRole(domain.Admin)
	return Actor{Workspace: w, Member: member, Role: role, Roster: 1}
}

func (p *process) append(t testing.TB, w pg.Workspace, actor uuid.UUID, stream string, expected int, events ...domain.Event) {
	t.Helper()
	write := eventstore.Write{Stream: stream, Expected: expected}
	for _, e := range events {
		write.Events = append(write.Events, eventstore.Event{Type: domain.TypeOf(e), Data: encode(t, e)})
	}
	if _, err := p.store.Append(context.Background(), w, eventstore.Append{Actor: actor, Writes: []eventstore.Write{write}}); err != nil {
		t.Fatal(err)
	}
}

func encode(t rapid.TB, e domain.Event) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (p *process) task(t testing.TB, by Actor, title string) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	p.append(t, by.Workspace, by.Member, domain.TaskStream(id), 0, domain.TaskCreated{Title: title, Status: "open", Priority: "none"})
	return id
}

// bulk writes tasks with one comment each straight into the log as the superuser, 4 events a task, which is faster than appends.
func (p *process) bulk(t testing.TB, by Actor, tasks int) (events int64) {
	t.Helper()
	ctx, admin := context.Background(), p.superuser(t)
	schema := by.Workspace.Schema()
	var position int64
	if err := admin.QueryRow(ctx, `select position from `+schema+`.head`).Scan(&position); err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	begin := time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond)
	add := func(stream string, version int, e domain.Event) {
		position++
		rows = append(rows, []any{position, uuid.Must(uuid.NewV7()), stream, version, domain.TypeOf(e), begin.Add(time.Duration(position) * time.Microsecond), by.Member, string(encode(t, e))})
	}
	priority := "high"
	for i := range tasks {
		task := uuid.Must(uuid.NewV7())
		add(domain.TaskStream(task), 1, domain.TaskCreated{Title: fmt.Sprintf("Task %d", i), Status: "open", Priority: "none", AssigneeIDs: []uuid.UUID{by.Member}})
		add(domain.TaskStream(task), 2, domain.TaskUpdated{Priority: &priority})
		add(domain.CommentStream(uuid.Must(uuid.NewV7())), 1, domain.CommentCreated{TaskID: task, Body: "It is on my list."})
		add(domain.TaskStream(task), 3, domain.TaskCompleted{})
	}
	if _, err := admin.CopyFrom(ctx, pgx.Identifier{schema, "event"}, []string{"position", "id", "stream", "version", "type", "at", "actor", "data"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	p.admin(t, `update `+schema+`.head set position = $1, at = $2`, position, begin.Add(time.Duration(position)*time.Microsecond))
	return int64(len(rows))
}

func (p *process) superuser(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), pgtest.Superuser(t, p.url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// admin runs SQL as the superuser, with rights that the application lacks.
func (p *process) admin(t testing.TB, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), pgtest.Superuser(t, p.url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// hold keeps every catch-up of a workspace waiting, until release.
func (p *process) hold(t testing.TB, w pg.Workspace) (release func()) {
	t.Helper()
	conn := p.superuser(t)
	tx, err := conn.Begin(context.Background())
	if err == nil {
		_, err = tx.Exec(context.Background(), `select * from `+w.Schema()+`.checkpoint for update`)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// log gives every record of a workspace, decoded.
func (p *process) log(t rapid.TB, w pg.Workspace) []domain.Record {
	t.Helper()
	var stored []eventstore.Record
	if _, err := p.store.Each(context.Background(), w, 0, func(r eventstore.Record) error {
		stored = append(stored, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	records, err := Decode(stored)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// differences compares the rows of every read model with the states that Apply alone makes of the log up to the checkpoint.
func (p *process) differences(t rapid.TB, w pg.Workspace) string {
	t.Helper()
	var position int64
	if err := p.db.Read(context.Background(), w, pg.Exec(`select position from checkpoint`).Scan(&position)); err != nil {
		t.Fatal(err)
	}
	records := p.log(t, w)[:position]
	all := ""
	for _, m := range models {
		all += m.(interface {
			difference(rapid.TB, *process, pg.Workspace, []domain.Record) string
		}).difference(t, p, w, records)
	}
	return all
}

func (m *Model[T]) difference(t rapid.TB, p *process, w pg.Workspace, records []domain.Record) string {
	t.Helper()
	want := map[uuid.UUID]T{}
	for _, r := range records {
		if id, ok := m.row(r); ok {
			state := want[id]
			m.Apply(&state, r)
			want[id] = state
		}
	}
	ids := []uuid.UUID{}
	for id := range want {
		ids = append(ids, id)
	}
	var rows []T
	var count int
	if err := p.db.Read(context.Background(), w, pg.Rows(&rows, m.selects, ids), pg.Exec(`select count(*) from `+m.name).Scan(&count)); err != nil {
		t.Fatal(err)
	}
	got := map[uuid.UUID]T{}
	for _, row := range rows {
		got[m.id(row)] = row
	}
	if count != len(want) {
		return fmt.Sprintf("%s has %d rows, want %d\n", m.name, count, len(want))
	}
	return cmp.Diff(want, got)
}

func minute(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
