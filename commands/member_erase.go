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

// EraseMember makes the person of a member unknown, for good: an active, invited or former member, or a placeholder.
//
//  1. The counters of the account's limits are deleted, while its address can still be read.
//  2. One transaction, of the owner, ends all access of the member, forgets the address, stores the event, and destroys the data key. Names, addresses
//     and origins of requests are sealed under that key in every event, so nobody can open them any more.
//  3. FinishErasure deletes the mails to the member, and enters the erasure in the ledger outside the database.
//
// When the process is killed between 2 and 3, the reaction to the event does 3. Other processes forget the key within a minute.
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
		if err != nil {
			return plan{}, err
		}
		return stopTimerOf(ctx, a, plan{stream: domain.RosterStream, version: a.by.Roster, events: events,
			also: append(dropAccess(id), vault.Destroy(id)), asOwner: true}, id)
	})
	if err == nil {
		c.Vault.Forget(r.By.Workspace, id)
		if late := c.FinishErasure(context.WithoutCancel(ctx), r.By.Workspace, id); late != nil { // the reaction goes on with it
			c.Log.WarnContext(ctx, "an erasure is not in the ledger yet", "workspace", r.By.Workspace.ID, "member", id, "error", late.Error())
		}
	}
	return result(ctx, c, r, projections.Members.Model, before, done, err)
}

// forgetCounts deletes the counters of a member's limits, and the networks from which the account was used.
func (c *Commands) forgetCounts(ctx context.Context, w pg.Workspace, m domain.Member) error {
	who, err := c.accountNameOf(ctx, w, m)
	if err != nil {
		return err
	}
	return c.DB.Control(ctx, func(tx pgx.Tx) error { return c.Limits.Forget(ctx, tx, who.subject(), m.ID.String()) })
}

// FinishErasure does what follows the event of an erasure. It may run any number of times.
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

// dropTraces deletes what is left of a member in a workspace: an invitation that was being sent, the keys and answers of requests, the key by which an
// import knew the person, and the rejected lines of imports that have ended, which may name anybody.
func dropTraces(member uuid.UUID) []pg.Statement {
	return []pg.Statement{
		pg.Exec(`delete from invitation where member_id = $1`, member),
		pg.Exec(`delete from dedupe using event e where e.position = dedupe.first and dedupe.first <= dedupe.last and e.actor = $1 and dedupe.at < 'infinity'`, member),
		pg.Exec(`delete from dedupe using event e where e.position = dedupe.first and e.stream = $1 and e.type = 'member.placed' and e.data ->> 'member_id' = $2`,
			domain.RosterStream, member.String()),
		pg.Exec(`delete from dedupe where first > last and at = 'infinity' and answer::text = '"' || $1 || '"'`, member.String()),
		pg.Exec(`delete from import_run using import where import.id = import_run.import_id and import.finished_at is not null`),
	}
}

// dropMails deletes the mails to a member, sent or not.
func dropMails(ctx context.Context, tx pgx.Tx, w pg.Workspace, member uuid.UUID) error {
	_, err := tx.Exec(ctx, `delete from kluis_jobs.river_job where kind = 'mail' and args ->> 'workspace' = $1 and args ->> 'member' = $2`, w.ID.String(), member.String())
	return err
}

// MailIsFutile tells whether the recipient of a mail, or the recipient's workspace, was erased since the mail was queued. The content of such a mail is
// deleted.
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

// dropExports deletes the files of exports, because they have the names of members. A member who needs one asks for it again. An export under way
// begins again: see makeExport.
func (c *Commands) dropExports(ctx context.Context, w pg.Workspace) error {
	var ids []uuid.UUID
	mark, err := c.Projections.Fresh(ctx, w, pg.Column(&ids, `select id from export where finished_at is not null`))
	if err == nil && mark.Behind() > 0 {
		err = fmt.Errorf("%d events may have ended further exports", mark.Behind())
	}
	for _, id := range ids {
		err = errors.Join(err, c.Blobs.Delete(ctx, exportKey(w, id)))
	}
	return err
}
