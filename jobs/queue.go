package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
)

// queue is work of one kind that takes long, and that all processes share: see table kluis.queue.
type queue struct {
	kind   string
	atOnce int // in one process
	run    func(c *commands.Commands, ctx context.Context, w pg.Workspace, id uuid.UUID) error
}

// queues are all kinds of such work.
var queues = []queue{
	{imports, 2, (*commands.Commands).RunImport},
	{exports, 1, (*commands.Commands).RunExport}, // an export takes a core
}

const (
	queueEvery = 5 * time.Second  // how often to look for work that another process has queued, or has let go of
	queueLease = 30 * time.Second // how long after a process was killed another one goes on with its work
)

// enqueue puts work into a queue, unless it is there.
func enqueue(ctx context.Context, tx pgx.Tx, kind string, w pg.Workspace, id uuid.UUID) error {
	_, err := tx.Exec(ctx, `insert into kluis.queue (kind, workspace_id, id) values ($1, $2, $3) on conflict do nothing`, kind, w.ID, id)
	if err != nil {
		return fmt.Errorf("queue %s %s: %w", kind, id, err)
	}
	return nil
}

// work is one piece of work in a queue.
type work struct {
	Kind string
	In   pg.Workspace
	ID   uuid.UUID
}

// runQueues does the work in the queues until ctx ends. One query finds work of any kind for which there is room.
func (j *Jobs) runQueues(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	room := map[string]int{}
	for _, q := range queues {
		room[q.kind] = q.atOnce
	}
	ended := make(chan string, 16)
	for {
		free := slices.DeleteFunc(slices.Sorted(maps.Keys(room)), func(kind string) bool { return room[kind] == 0 })
		todo, err := j.next(ctx, free)
		if err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "the queues could not be read", "error", err.Error())
		}
		if todo != nil {
			room[todo.Kind]--
			running.Go(func() { j.do(ctx, *todo); ended <- todo.Kind })
			continue
		}
		select {
		case kind := <-ended:
			room[kind]++
		case <-j.queued:
		case <-time.After(queueEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// do does one piece of work. When it is broken off, its lease runs out, and a process takes it up again.
func (j *Jobs) do(ctx context.Context, todo work) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go j.keepLease(ctx, todo.ID)
	at := slices.IndexFunc(queues, func(q queue) bool { return q.kind == todo.Kind })
	err := panics.Caught(func() error { return queues[at].run(j.Commands, ctx, todo.In, todo.ID) })()
	if err == nil {
		err = j.DB.Control(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `delete from kluis.queue where id = $1`, todo.ID)
			return err
		})
	}
	if err != nil && ctx.Err() == nil {
		j.Log.WarnContext(ctx, "work was broken off, and goes on later", "kind", todo.Kind, "id", todo.ID, "workspace", todo.In.ID, "error", err.Error())
	}
}

// next leases work of some kinds that no process has leased; nil when there is none. It leases only one piece of a kind for a workspace at a time,
// because two may be about the same things.
func (j *Jobs) next(ctx context.Context, kinds []string) (*work, error) {
	var found work
	err := j.DB.Control(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('kluis'), hashtext('queue'))`); err != nil { // so that no other process leases work of the same workspace
			return err
		}
		return tx.QueryRow(ctx, `update kluis.queue set leased_until = now() + make_interval(secs => $1)
			where id = (select id from kluis.queue waiting where kind = any($2) and leased_until < now()
				and not exists (select from kluis.queue leased where leased.kind = waiting.kind and leased.workspace_id = waiting.workspace_id and leased.leased_until >= now())
				order by id limit 1)
			returning kind, workspace_id, id`, queueLease.Seconds(), kinds).Scan(&found.Kind, &found.In.ID, &found.ID)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the queues: %w", err)
	}
	return &found, nil
}

// keepLease renews a lease until ctx ends.
func (j *Jobs) keepLease(ctx context.Context, id uuid.UUID) {
	for {
		select {
		case <-time.After(queueLease / 3):
		case <-ctx.Done():
			return
		}
		err := j.DB.Control(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update kluis.queue set leased_until = now() + make_interval(secs => $1) where id = $2`, queueLease.Seconds(), id)
			return err
		})
		if err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "work could not be leased again", "id", id, "error", err.Error())
		}
	}
}
