package tenancy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// An installation may have several cells: databases, each of one region. One of them is the home. Its table place lists all workspaces, and in
// which region each is.

// OtherCellError says that a database belongs to another region, or has another home, than the settings say.
type OtherCellError struct{ Region, Home, SaidRegion, SaidHome string }

func (e *OtherCellError) Error() string {
	return fmt.Sprintf("this database belongs to region %s with the home %s, and KLUIS_REGIONS says region %s with the home %s: name the home first, and change the name of no region",
		e.Region, e.Home, e.SaidRegion, e.SaidHome)
}

// Belong makes the database that of a region when it is called first. From then on another region or home is an OtherCellError.
func (t *Tenancy) Belong(ctx context.Context, region, home string) error {
	is := OtherCellError{SaidRegion: region, SaidHome: home}
	err := t.db.Own(ctx, "kluis", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `insert into cell (region, home) values ($1, $2) on conflict do nothing`, region, home); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select region, home from cell`).Scan(&is.Region, &is.Home)
	})
	if err != nil {
		return fmt.Errorf("look up the region of the database: %w", err)
	}
	if is.Region != region || is.Home != home {
		return &is
	}
	t.region = region
	return nil
}

// home returns the cell with the list of all slugs.
func (t *Tenancy) home() (*Tenancy, error) {
	if t.Home == nil {
		return t, nil
	}
	return t.Home()
}

// RegionOf returns the region of a workspace by its id or its slug; the caller leaves the other one empty. The error is ErrUnknown when the list has
// none.
func (t *Tenancy) RegionOf(ctx context.Context, id uuid.UUID, slug string) (region string, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select region from kluis.place where id = $1 or slug = $2`, id, slug).Scan(&region)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrUnknown
	}
	return region, err
}

// Has tells whether this cell serves a workspace. It answers while the home cannot be asked, and so counts no workspace that a backup may
// have brought back: only the home's list says whether that one is here.
func (t *Tenancy) Has(ctx context.Context, id uuid.UUID, slug string) (there bool, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select exists (select from kluis.workspace where (id = $1 or slug = $2) and status = 'active' and heeded = kluis.incarnation())`, id, slug).Scan(&there)
	})
	return there, err
}

// Regions returns the number of workspaces in each region that has any. It asks the home's list.
func (t *Tenancy) Regions(ctx context.Context) (regions map[string]int, err error) {
	regions = map[string]int{}
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select region, count(*)::int from kluis.place where settled group by region`) //nolint:rowserrcheck // ForEachRow does
		if err != nil {
			return err
		}
		var region string
		var n int
		_, err = pgx.ForEachRow(rows, []any{&region, &n}, func() error { regions[region] = n; return nil })
		return err
	})
	return regions, err
}

const insertPlace = `insert into kluis.place (id, slug, region, settled) values ($1, $2, $3, $4)`

// claim takes a slug for a workspace that is about to be made in a cell. An earlier claim for the same id that was broken off is no
// obstacle. tx is the home's.
func claim(ctx context.Context, tx pgx.Tx, e Entry, settled bool) error {
	tag, err := tx.Exec(ctx, insertPlace+` on conflict (id) do update set slug = excluded.slug where place.slug = excluded.slug and not place.settled`, e.ID, e.Slug, e.Region, settled)
	if pg.Is(err, pg.UniqueViolation) || err == nil && tag.RowsAffected() == 0 {
		return ErrSlugTaken
	}
	return err
}

// claimLife is how long a sign-up may take to make its workspace after the claim. It takes seconds.
const claimLife = time.Hour

// Settle brings the home's list in line with this cell, where a process may have been killed between a claim and its workspace:
//
//  1. Claims without a workspace here end when they are so old that nobody works on them any more. Their slugs are free.
//  2. Workspaces that are here, and that the list lacks, as after a restore of the home, are added to the list.
//  3. Workspaces that were erased here are erased in the list.
//
// A slug that the list has for another workspace is an error: one of the two databases was restored from another moment.
func (t *Tenancy) Settle(ctx context.Context) error {
	home, err := t.home()
	if err != nil {
		return err
	}
	claims, err := t.oldClaims(ctx, home)
	if err != nil {
		return err
	}
	here, err := t.query(ctx, `select `+columns+` from kluis.workspace where status not in ('arriving', 'moved')`)
	if err != nil {
		return err
	}
	var ids, erased []uuid.UUID
	var slugs []string
	for _, e := range here {
		ids, slugs = append(ids, e.ID), append(slugs, e.Slug)
		if e.Status == "erased" {
			erased = append(erased, e.ID)
		}
	}
	err = home.db.Control(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from kluis.place where id = any($1) and not settled and not id = any($2)`, claims, ids); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into kluis.place (id, slug, region, settled) select id, slug, $3, true from unnest($1::uuid[], $2::text[]) as here (id, slug)
			on conflict (id) do update set settled = true where not place.settled`, ids, slugs, t.region)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update kluis.place set erased = true, region = $2 where id = any($1) and not erased`, erased, t.region)
		return err
	})
	if pg.Is(err, pg.UniqueViolation) {
		return fmt.Errorf("a workspace of region %s has a slug that another one has in the home: one of the two databases was restored from another moment: %w", t.region, withoutValues(err))
	}
	return err
}

// oldClaims are the claims for this cell on which nobody works any more. Settle reads them before the directory: so a workspace that is made in
// between is never taken for an old claim.
func (t *Tenancy) oldClaims(ctx context.Context, home *Tenancy) (ids []uuid.UUID, err error) {
	err = home.db.Control(ctx, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `select id from kluis.place where region = $1 and not settled and claimed_at < now() - make_interval(secs => $2)`, t.region, claimLife.Seconds())
		ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	return ids, err
}

// ListErased notes in the home's list that a workspace was erased in a region.
func (t *Tenancy) ListErased(ctx context.Context, region string, id uuid.UUID) error {
	return t.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update kluis.place set erased = true, region = $2 where id = $1 and not erased`, id, region)
		return err
	})
}

// Strays are workspaces that broken-off moves have left here, and that were erased since. Nobody can enter them, and no other move will take them
// away.
func (t *Tenancy) Strays(ctx context.Context) (strays []Entry, err error) {
	home, err := t.home()
	if err != nil {
		return nil, err
	}
	left, err := t.query(ctx, `select `+columns+` from kluis.workspace where status in ('arriving', 'moved')`)
	if err != nil || len(left) == 0 {
		return nil, err
	}
	erased := map[uuid.UUID]bool{}
	err = home.db.Control(ctx, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `select id from kluis.place where erased`)
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		for _, id := range ids {
			erased[id] = true
		}
		return err
	})
	return slices.DeleteFunc(left, func(e Entry) bool { return !erased[e.ID] }), err
}
