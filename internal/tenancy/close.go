package tenancy

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// CloseWorkspace closes a workspace. No login may take its role any more, so Postgres refuses the next transaction of every process, as
// pg.Closed. A transaction that has begun goes on to its end. Analysts read nothing any more. Nothing of the workspace is changed.
func (t *Tenancy) CloseWorkspace(ctx context.Context, slug string) error {
	return t.setOpen(ctx, slug, active, "closed", func(name string) string { return "revoke " + name + " from " + t.login() })
}

// OpenWorkspace opens a workspace that was closed.
func (t *Tenancy) OpenWorkspace(ctx context.Context, slug string) error {
	return t.setOpen(ctx, slug, "closed", active, func(name string) string { return "grant " + name + " to " + t.login() })
}

// setOpen changes the status of a workspace, and who may take its role, by sql.
func (t *Tenancy) setOpen(ctx context.Context, slug, from, to string, sql func(name string) string) error {
	entry, err := t.BySlug(ctx, slug)
	if err != nil {
		return err
	}
	err = t.db.Admin(ctx, func(tx pgx.Tx) error {
		//sqlcheck:allow a name made of the workspace's id, and a quoted one
		if _, err := tx.Exec(ctx, sql(entry.Workspace().Schema())); err != nil {
			return err
		}
		if err := pg.BecomeOwner(ctx, tx, "kluis"); err != nil {
			return err
		}
		if err := allMayRead(ctx, tx, entry.Workspace().Schema(), to == active); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update workspace set status = $1 where id = $2 and status = $3`, to, entry.ID, from)
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("it is %s and not %s", entry.Status, from)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("workspace %q: %w", slug, err)
	}
	return nil
}
