package commands

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// EraseMember makes somebody unknown whom a member was, for good: one who is here, who was invited, who left, or a placeholder.
//
//  1. What limits have counted of the account is forgotten, as long as its address can be read.
//  2. One transaction, of the owner, ends all that lets the member in, forgets whose the address was, stores the event, and destroys the data key:
//     names, addresses, and where requests came from, are sealed under it in every event, and nobody can open them any more.
//  3. Mails to the member go, and the ledger outside the database gets its entry: FinishErasure.
//
// Broken off between 2 and 3, the reaction to the event does 3. Other processes forget the key within a minute.
func (c *Commands) EraseMember(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Member], error) {
	before := domain.Member{ID: id}
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		var rows []projections.MemberRow
		if err := a.read(ctx, projections.LoadAnybody(&rows, a.by, id)); err != nil {
			return plan{}, err
		}
		if err := mayChange(a.by, domain.DeleteMember, rows); err != nil {
			return plan{}, err
		}
		before = rows[0].Member
		if err := r.match(before.Version); err != nil {
			return plan{}, err
		}
		events, err := before.Erase(rows[0].OtherAdmins)
		if err == nil && events != nil {
			err = c.forgetCounts(ctx, r.By.Workspace, before)
		}
		return plan{stream: domain.RosterStream, version: a.by.Roster, events: events,
			also: append(dropAccess(id), vault.Destroy(id)), owners: true}, err
	})
	if err == nil {
		c.Vault.Forget(r.By.Workspace, id)
		if late := c.FinishErasure(context.WithoutCancel(ctx), r.By.Workspace, id); late != nil { // the reaction goes on with it
			c.Log.WarnContext(ctx, "an erasure is not in the ledger yet", "workspace", r.By.Workspace.ID, "member", id, "error", late.Error())
		}
	}
	return result(ctx, c, r, projections.Members.Model, before, done, err)
}

// forgetCounts forgets what limits have counted of a member, and from where the account was used.
func (c *Commands) forgetCounts(ctx context.Context, w pg.Workspace, m domain.Member) error {
	who, err := c.nameOf(ctx, w, m)
	if err != nil {
		return err
	}
	return c.DB.Control(ctx, func(tx pgx.Tx) error { return c.Limits.Forget(ctx, tx, who.subject(), m.ID.String()) })
}

// FinishErasure is what follows the event of an erasure: it may be done any number of times.
func (c *Commands) FinishErasure(ctx context.Context, w pg.Workspace, member uuid.UUID) error {
	var at time.Time
	var position int64
	err := c.DB.Control(ctx, func(tx pgx.Tx) error {
		if err := dropMails(ctx, tx, w, member); err != nil {
			return err
		}
		return pg.AsWorkspace(ctx, tx, w, func() error {
			return run(ctx, tx, append(dropTraces(member), pg.Exec(`select at, position from event
				where stream = $1 and type = 'member.erased' and data ->> 'member_id' = $2 order by version limit 1`, domain.RosterStream, member.String()).Scan(&at, &position))...)
		})
	})
	if err != nil {
		return fmt.Errorf("drop what is left of member %s: %w", member, err)
	}
	if err := c.dropExports(ctx, w); err != nil {
		return fmt.Errorf("drop the exports that have member %s: %w", member, err)
	}
	return c.enterErasure(ctx, checkpoint.NewErasure(c.PublicURL, w.ID, member, at, checkpoint.Fact{Name: "position", Value: strconv.FormatInt(position, 10)}))
}

// enterErasure enters an erasure in the ledger.
func (c *Commands) enterErasure(ctx context.Context, e checkpoint.Erasure) error {
	signers, err := c.Keys.Signers(e.Name())
	if err != nil {
		return err
	}
	signed, err := e.Sign(signers...)
	if err != nil {
		return err
	}
	return c.Kept.KeepErasure(ctx, e, signed)
}

// dropTraces takes away what is left of a member in a workspace: an invitation that was being sent, answers of repeated requests, how an
// import knew the person, and what imports that have ended said of lines that they rejected, which may name anybody.
func dropTraces(member uuid.UUID) []pg.Statement {
	return []pg.Statement{
		pg.Exec(`delete from invitation where member_id = $1`, member),
		pg.Exec(`delete from dedupe using event e where e.position = dedupe.first and dedupe.first <= dedupe.last and e.actor = $1 and dedupe.at < 'infinity'`, member),
		pg.Exec(`delete from dedupe using event e where e.position = dedupe.first and e.stream = $1 and e.type = 'member.placed' and e.data ->> 'member_id' = $2`,
			domain.RosterStream, member.String()),
		pg.Exec(`delete from import_run using import where import.id = import_run.import_id and import.finished_at is not null`),
	}
}

// dropMails takes away the mails to a member, whatever became of them.
func dropMails(ctx context.Context, tx pgx.Tx, w pg.Workspace, member uuid.UUID) error {
	_, err := tx.Exec(ctx, `delete from kluis_jobs.river_job where kind = 'mail' and args ->> 'workspace' = $1 and args ->> 'member' = $2`, w.ID.String(), member.String())
	return err
}

// MailIsFutile tells whether a mail is to somebody who was erased since it was asked for, or whose workspace was: it is emptied then.
func (c *Commands) MailIsFutile(ctx context.Context, job int64, to mail.Recipient) (bool, error) {
	there, err := c.Vault.There(ctx, pg.Workspace{ID: to.Workspace}, to.Member)
	if pg.Is(err, pg.NoSuchRole) {
		err = nil
	}
	if err != nil || there {
		return false, err
	}
	return true, c.DB.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis_jobs.river_job set args = args - 'sealed' where id = $1`, job)
		return err
	})
}

// dropExports takes away the files of exports, which have what members were called: whoever needs one asks for it again. What an export under
// way writes ends with its link.
func (c *Commands) dropExports(ctx context.Context, w pg.Workspace) error {
	var ids []uuid.UUID
	err := c.DB.Do(ctx, w, pg.Column(&ids, `select id from export where finished_at is not null`))
	for _, id := range ids {
		err = errors.Join(err, c.Blobs.Delete(ctx, exportKey(w, id)))
	}
	return err
}
