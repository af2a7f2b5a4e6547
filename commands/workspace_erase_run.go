package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
)

// erasing is the erasure of one workspace that is under way.
type erasing struct {
	c     *Commands
	w     pg.Workspace
	slug  string
	due   time.Time
	step  string
	facts map[string]string // the facts for the certificate, by name
}

// erasureSteps are done in this order, and each is noted when it is done. A step that was broken off is done again, with the same effect, so the next process
// goes on from the last note.
//
//  1. The workspace is closed, while the log is locked: nothing is appended any more, and nobody reads. Up to this step any admin can cancel.
//  2. The rows are counted, and the Merkle tree grows to the end of the log.
//  3. The ledger outside the database gets the erasure. From then on an older backup that is put back is erased, too.
//  4. The counters of limits are deleted, while addresses can still be read.
//  5. The keys are destroyed, so nobody can open sealed data any more.
//  6. Signals, queues, jobs and mails are deleted.
//  7. The blobs are deleted, with all versions and unfinished uploads.
//  8. The logins of analysts are dropped.
//  9. The tables are dropped, a few at a time, and then their schemas.
//  10. The role is dropped.
//  11. The directory keeps the id and the slug, so that neither is used again. The certificate is signed and kept.
var erasureSteps = []struct {
	name string
	do   func(*erasing, context.Context) error
}{
	{"closed", (*erasing).shut},
	{"counted", (*erasing).count},
	{"ledgered", (*erasing).enter},
	{"forgotten", (*erasing).forget},
	{"keys", (*erasing).destroyKeys},
	{"control", (*erasing).dropControl},
	{"blobs", (*erasing).purge},
	{"analysts", (*erasing).dropAnalysts},
	{"schema", (*erasing).dropSchemas},
	{"role", (*erasing).dropRole},
	{"done", (*erasing).certify},
}

// errErasureCancelled says that the erasure was cancelled, errLegalHold that the workspace is under a legal hold.
var (
	errErasureCancelled = errors.New("the erasure was cancelled")
	errLegalHold        = errors.New("the workspace is under a legal hold: its erasure is tried again in an hour")
)

// erasureLease is how long after the death of a process another one goes on with its erasure.
const erasureLease = 15 * time.Second

// NextErasure leases an erasure that is due and that no process has leased, if there is one. Unless only is nil, it looks at that workspace alone.
func (c *Commands) NextErasure(ctx context.Context, only *pg.Workspace) (w pg.Workspace, found bool, err error) {
	var id *uuid.UUID
	if only != nil {
		id = &only.ID
	}
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `update kluis.erasure set leased_until = now() + make_interval(secs => $1)
			where workspace_id = (select workspace_id from kluis.erasure where certificate is null and due_at <= now() and leased_until < now()
				and not exists (select from kluis.workspace w where w.id = workspace_id and w.status in ('arriving', 'moved'))
				and ($2::uuid is null or workspace_id = $2) order by due_at limit 1 for update skip locked)
			returning workspace_id`, erasureLease.Seconds(), id).Scan(&w.ID)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return w, false, nil
	}
	if err != nil {
		return w, false, fmt.Errorf("look for an erasure: %w", err)
	}
	return w, true, nil
}

// keepLease renews the lease of an erasure until ctx ends.
func (e *erasing) keepLease(ctx context.Context) {
	for {
		select {
		case <-time.After(erasureLease / 3):
		case <-ctx.Done():
			return
		}
		err := e.c.DB.Control(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update kluis.erasure set leased_until = now() + make_interval(secs => $1) where workspace_id = $2`, erasureLease.Seconds(), e.w.ID)
			return err
		})
		if err != nil && ctx.Err() == nil {
			e.c.Log.WarnContext(ctx, "the lease of the erasure of a workspace could not be renewed", "workspace", e.w.ID, "error", err.Error())
		}
	}
}

// RunErasure erases a workspace that NextErasure gave, from the first step or from where an earlier run stopped. told is called after each step. An erasure
// that was cancelled is removed from the queue.
func (c *Commands) RunErasure(ctx context.Context, w pg.Workspace, told func(step string) error) error {
	e := &erasing{c: c, w: w}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go e.keepLease(ctx)
	if err := e.load(ctx); err != nil {
		return err
	}
	begun := e.step == ""
	for _, s := range erasureSteps {
		if !begun {
			begun = s.name == e.step
			continue
		}
		err := s.do(e, ctx)
		if errors.Is(err, errErasureCancelled) {
			return c.DB.Control(ctx, func(tx pgx.Tx) error { return c.ForgetErasure(ctx, tx, w) })
		}
		if errors.Is(err, errLegalHold) {
			err = errors.Join(err, e.postpone(ctx))
		}
		if err != nil {
			return fmt.Errorf("erase workspace %s, %s: %w", w.ID, s.name, err)
		}
		if err := e.note(ctx, s.name); err != nil {
			return err
		}
		if err := told(s.name); err != nil {
			return err
		}
	}
	return nil
}

func (e *erasing) load(ctx context.Context) error {
	var facts []byte
	err := e.c.DB.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select slug, due_at, step, facts from kluis.erasure where workspace_id = $1`, e.w.ID).Scan(&e.slug, &e.due, &e.step, &facts)
	})
	if err != nil {
		return fmt.Errorf("look up the erasure of workspace %s: %w", e.w.ID, err)
	}
	return json.Unmarshal(facts, &e.facts)
}

// note stores that a step is done, with the facts so far.
func (e *erasing) note(ctx context.Context, step string) error {
	facts, err := json.Marshal(e.facts)
	if err != nil {
		return err
	}
	return e.c.DB.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis.erasure set step = $2, facts = $3 where workspace_id = $1`, e.w.ID, step, facts)
		return err
	})
}

// postpone puts the erasure off for an hour.
func (e *erasing) postpone(ctx context.Context) error {
	return e.c.DB.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis.erasure set due_at = now() + interval '1 hour' where workspace_id = $1`, e.w.ID)
		return err
	})
}

// restoredFact is the fact that the workspace was erased before, and that an older backup brought it back.
const restoredFact = "restored-from-a-backup"

// shut closes the workspace, unless its log says that the erasure was cancelled, or is not due yet.
func (e *erasing) shut(ctx context.Context) error {
	shut, err := e.c.Tenancy.BeginErasure(ctx, e.w, func(tx pgx.Tx) (bool, error) {
		if e.facts[restoredFact] != "" {
			return true, nil
		}
		var due, held bool
		err := tx.QueryRow(ctx, `select coalesce((data ->> 'erases_at')::timestamptz <= clock_timestamp(), false),
				coalesce((select type = 'workspace.hold_placed' from event where stream = $1 and type like 'workspace.hold_%' order by version desc limit 1), false)
			from event where stream = $1 and type like 'workspace.erasure_%' order by version desc limit 1`, domain.WorkspaceStream(e.w.ID)).Scan(&due, &held)
		if held {
			return false, errLegalHold
		}
		if errors.Is(err, pgx.ErrNoRows) {
			return false, nil
		}
		return due, err
	})
	if err == nil && !shut {
		return errErasureCancelled
	}
	now, failed := e.c.now(ctx)
	e.facts["closed-at"] = now.UTC().Format(time.RFC3339)
	return errors.Join(err, failed)
}

func (e *erasing) count(ctx context.Context) error {
	rows, err := e.c.Tenancy.CountRows(ctx, e.w)
	if err != nil {
		return err
	}
	for name, n := range rows {
		e.facts["rows-"+name] = strconv.FormatInt(n, 10)
	}
	tree, root, err := e.c.Store.Last(ctx, e.w)
	if err != nil { // a damaged log is erased all the same
		e.c.Log.WarnContext(ctx, "the root of the log of a workspace that is being erased is unknown", "workspace", e.w.ID, "error", err.Error())
		return nil
	}
	e.facts["log-epoch"] = strconv.Itoa(tree.Head.Epoch)
	e.facts["log-records"] = strconv.FormatInt(tree.Size, 10)
	e.facts["log-root"] = root.String()
	return nil
}

func (e *erasing) enter(ctx context.Context) error {
	return e.c.enterErasure(ctx, checkpoint.NewErasure(e.c.PublicURL, e.w.ID, uuid.Nil, e.due, e.listed("log-")...))
}

// listed gives the facts whose names have a prefix, in the order of their names.
func (e *erasing) listed(prefix string) (facts []checkpoint.Fact) {
	for _, name := range slices.Sorted(maps.Keys(e.facts)) {
		if strings.HasPrefix(name, prefix) {
			facts = append(facts, checkpoint.Fact{Name: name, Value: e.facts[name]})
		}
	}
	return facts
}

// forget deletes the counters of the limits of all accounts, as far as addresses can be read.
func (e *erasing) forget(ctx context.Context) error {
	var members []struct {
		ID      uuid.UUID
		Email   string
		Wrapped string
	}
	err := e.c.DB.InAsOwner(ctx, e.w, func(tx *pg.Tx) error {
		return tx.Run(ctx, pg.Rows(&members, `select id, email, wrapped from member join data_key on subject = id`))
	})
	if err != nil {
		return err
	}
	for page := range slices.Chunk(members, 500) {
		subjects := []string{e.w.ID.String()}
		for _, m := range page {
			subjects = append(subjects, m.ID.String())
			if key, err := e.c.Vault.Unwrap(e.w, m.ID, m.Wrapped); err == nil {
				if email, err := key.Open(emailField, m.Email); err == nil {
					subjects = append(subjects, newAccountName(e.slug, email).subject())
				}
			}
		}
		if err := e.c.DB.Control(ctx, func(tx pgx.Tx) error { return e.c.Limits.Forget(ctx, tx, subjects...) }); err != nil {
			return err
		}
	}
	return nil
}

func (e *erasing) destroyKeys(ctx context.Context) error {
	err := e.c.DB.InAsOwner(ctx, e.w, func(tx *pg.Tx) error { return tx.Run(ctx, pg.Exec(`delete from data_key`)) })
	e.c.Vault.ForgetAll(e.w)
	return err
}

func (e *erasing) dropControl(ctx context.Context) error {
	dropped, err := e.c.Tenancy.DropOfControl(ctx, e.w)
	if err != nil {
		return err
	}
	err = e.c.DB.Control(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from kluis_jobs.river_job where args ->> 'workspace' = $1 or args ->> 'workspace_id' = $1`, e.w.ID.String())
		dropped["jobs"] = tag.RowsAffected()
		return err
	})
	for name, n := range dropped {
		e.add("waiting-"+name, n)
	}
	return err
}

// add adds to a count, because a step that was broken off counts in parts.
func (e *erasing) add(name string, n int64) {
	before, _ := strconv.ParseInt(e.facts[name], 10, 64)
	if n += before; n > 0 {
		e.facts[name] = strconv.FormatInt(n, 10)
	}
}

func (e *erasing) purge(ctx context.Context) error {
	n, err := e.c.Blobs.Purge(ctx, e.w.ID.String())
	e.add("blobs", int64(n))
	return errors.Join(err, e.c.Kept.Forget(ctx, e.w.ID))
}

func (e *erasing) dropAnalysts(ctx context.Context) error {
	n, err := e.c.Tenancy.DropAnalysts(ctx, e.w)
	e.add("analysts", int64(n))
	return err
}

func (e *erasing) dropSchemas(ctx context.Context) error {
	n, err := e.c.Tenancy.DropSchemas(ctx, e.w)
	e.add("tables", int64(n))
	return err
}

func (e *erasing) dropRole(ctx context.Context) error { return e.c.Tenancy.DropRole(ctx, e.w) }

// certify signs and keeps a certificate of the erasure. The certificate names nobody.
func (e *erasing) certify(ctx context.Context) error {
	now, err := e.c.now(ctx)
	if err != nil {
		return err
	}
	e.facts["slug"], e.facts["erased-at"] = e.slug, now.UTC().Format(time.RFC3339)
	certificate := checkpoint.NewErasure(e.c.PublicURL, e.w.ID, uuid.Nil, e.due, e.listed("")...)
	signers, err := e.c.Keys.Signers(certificate.Name())
	if err != nil {
		return err
	}
	signed, err := certificate.Sign(signers...)
	if err != nil {
		return err
	}
	if err := e.c.Kept.KeepCertificate(ctx, e.w.ID, signed); err != nil {
		return err
	}
	return e.c.Tenancy.EndErasure(ctx, e.w, signed)
}
