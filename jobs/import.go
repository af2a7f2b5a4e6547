package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

const (
	importsAtOnce = 2 // in one process
	importEvery   = 2 * time.Second
	importLease   = 30 * time.Second // so long after a process was killed, another goes on with its import
)

// queueImport puts an import into the queue that all processes share.
func (j *Jobs) queueImport(ctx context.Context, tx pgx.Tx, w pg.Workspace, id uuid.UUID, _ domain.ImportRequested) error {
	_, err := tx.Exec(ctx, `insert into kluis.import_queue (workspace_id, import_id) values ($1, $2) on conflict do nothing`, w.ID, id)
	if err != nil {
		return fmt.Errorf("queue import %s: %w", id, err)
	}
	return nil
}

// runImports plays queued imports until ctx ends.
func (j *Jobs) runImports(ctx context.Context) error {
	var group errgroup.Group
	for range importsAtOnce {
		group.Go(func() error {
			for ctx.Err() == nil {
				found, err := j.nextImport(ctx)
				if err != nil && ctx.Err() == nil {
					j.Log.WarnContext(ctx, "an import was broken off, and goes on later", "error", err.Error())
				}
				if !found || err != nil {
					select {
					case <-time.After(importEvery):
					case <-ctx.Done():
					}
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// nextImport plays an import that no process is at, if there is one: one at a time of a workspace, since two may be of the same things.
func (j *Jobs) nextImport(ctx context.Context) (found bool, err error) {
	var w pg.Workspace
	var id uuid.UUID
	err = j.DB.Control(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('kluis'), hashtext('imports'))`); err != nil { // so that nobody leases another one of the workspace
			return err
		}
		return tx.QueryRow(ctx, `update kluis.import_queue set leased_until = now() + make_interval(secs => $1)
			where import_id = (select import_id from kluis.import_queue waiting where leased_until < now()
				and not exists (select from kluis.import_queue leased where leased.workspace_id = waiting.workspace_id and leased.leased_until >= now())
				order by import_id limit 1)
			returning workspace_id, import_id`, importLease.Seconds()).Scan(&w.ID, &id)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for an import: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go j.keepLease(ctx, id)
	if err := j.Commands.RunImport(ctx, w, id); err != nil {
		return true, fmt.Errorf("import %s of workspace %s: %w", id, w.ID, err)
	}
	return true, j.DB.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `delete from kluis.import_queue where import_id = $1`, id)
		return err
	})
}

// keepLease leases an import again and again until ctx ends.
func (j *Jobs) keepLease(ctx context.Context, id uuid.UUID) {
	for {
		select {
		case <-time.After(importLease / 3):
		case <-ctx.Done():
			return
		}
		err := j.DB.Control(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update kluis.import_queue set leased_until = now() + make_interval(secs => $1) where import_id = $2`, importLease.Seconds(), id)
			return err
		})
		if err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "an import could not be leased again", "import", id, "error", err.Error())
		}
	}
}
