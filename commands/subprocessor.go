package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/place"
	"github.com/kluis-eu/kluis/projections"
)

// ChangeSubprocessors adds a version to the list of subprocessors, for the operator of Kluis, and queues a notice to the admins of every workspace. A
// removal, and a change that was agreed otherwise, need no notice. An empty Effective means the earliest allowed day. It gives the change as it was stored,
// and the number of workspaces that get a notice. Of two calls at once, one is refused.
func ChangeSubprocessors(ctx context.Context, db *pg.DB, c domain.SubprocessorChange) (_ domain.SubprocessorChange, told int64, err error) {
	if !c.Removed {
		if c.Country, err = checkCountry(c.Subprocessor); err != nil {
			return c, 0, err
		}
	}
	err = db.Control(ctx, func(tx pgx.Tx) error {
		before, err := projections.SubprocessorChanges(ctx, tx)
		if err != nil {
			return err
		}
		var served bool
		if err := tx.QueryRow(ctx, `select exists (select from kluis.workspace where status <> 'erased'), now()`).Scan(&served, &c.At); err != nil {
			return fmt.Errorf("look for workspaces: %w", err)
		}
		today := domain.Day(c.At)
		quiet := c.Removed || c.Agreed || !served
		switch {
		case c.Effective == "" && quiet:
			c.Effective = today
		case c.Effective == "":
			c.Effective = today.Plus(domain.SubprocessorNotice)
		}
		if err := c.Check(before, today, served); err != nil {
			return err
		}
		c.Version = len(before) + 1
		_, err = tx.Exec(ctx, `insert into kluis.subprocessor (version, name, purpose, country, data, safeguard, removed, agreed, effective)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::date)`, c.Version, c.Name, c.Purpose, c.Country, c.Data, c.Safeguard, c.Removed, c.Agreed, string(c.Effective))
		if err != nil || quiet {
			return err
		}
		tag, err := tx.Exec(ctx, `insert into kluis.subprocessor_notice (version, workspace_id)
			select $1, id from kluis.workspace where status <> 'erased'`, c.Version)
		told = tag.RowsAffected()
		return err
	})
	if pg.Is(err, pg.UniqueViolation) {
		err = domain.Refuse(domain.Conflict, "subprocessor_contended", "somebody else changed the list at this moment: look at it, and try again")
	}
	return c, told, err
}

// checkCountry refuses a country outside of the European Economic Area without a safeguard (GDPR, Art. 46), and gives the code of the country.
func checkCountry(s domain.Subprocessor) (country string, err error) {
	country, err = place.Country(s.Country)
	if errors.As(err, new(*place.OutsideError)) {
		if s.Safeguard == "" {
			return "", domain.InvalidField("/safeguard", "must say what protects the data: %s", err)
		}
		return strings.ToUpper(s.Country), nil
	}
	if err != nil {
		return "", domain.InvalidField("/country", "%s", err)
	}
	return country, nil
}

// TellSubprocessors sends the queued notices to the admins of workspaces. A failure for one workspace does not stop the others, and the next call tries
// again. The error joins all failures.
func (c *Commands) TellSubprocessors(ctx context.Context) error {
	type notice struct {
		Version     int
		WorkspaceID uuid.UUID
	}
	var notices []notice
	var changes []domain.SubprocessorChange
	err := c.DB.Control(ctx, func(tx pgx.Tx) (err error) {
		rows, err := tx.Query(ctx, `select n.version, n.workspace_id from kluis.subprocessor_notice n join kluis.workspace w on w.id = n.workspace_id
			where w.status = 'active' order by n.version, n.workspace_id limit 1000`)
		if err != nil {
			return err
		}
		if notices, err = pgx.CollectRows(rows, pgx.RowToStructByName[notice]); err != nil || len(notices) == 0 {
			return err
		}
		changes, err = projections.SubprocessorChanges(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for notices of subprocessors: %w", err)
	}
	var failed []error
	for _, n := range notices {
		if err := c.tellSubprocessor(ctx, pg.Workspace{ID: n.WorkspaceID}, changes[n.Version-1]); err != nil {
			failed = append(failed, fmt.Errorf("tell the admins of workspace %s of version %d: %w", n.WorkspaceID, n.Version, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// tellSubprocessor mails the admins of one workspace. The transaction that queues the mails deletes the notice, so nobody is told twice.
func (c *Commands) tellSubprocessor(ctx context.Context, w pg.Workspace, change domain.SubprocessorChange) error {
	return c.DB.Control(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from kluis.subprocessor_notice where version = $1 and workspace_id = $2`, change.Version, w.ID)
		if err != nil || tag.RowsAffected() == 0 { // another process told them
			return err
		}
		return c.MailAdmins(ctx, tx, w, "subprocessor_notice", map[string]string{"Company": change.Name, "Purpose": change.Purpose,
			"Data": change.Data, "Country": change.Country, "Effective": string(change.Effective)})
	})
}
