package projections

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Progress is told how far a rebuild is: up to which position of how many.
type Progress func(position, of int64)

// Rebuild derives all read models of a workspace anew from its log. It folds as the ordinary catch-up does (foldIn), from
// position 0, into shadow tables that lie over the workspace's own; then the tables change places, in one
// transaction. Reads and writes go on meanwhile. Killed anywhere, the old tables stay and the next rebuild
// begins afresh.
func (p *Projections) Rebuild(ctx context.Context, w pg.Workspace, progress Progress) (events int64, err error) {
	err = p.withShadow(ctx, w, progress, func(position int64) error {
		events = position
		return p.swap(ctx, w)
	})
	return events, err
}

// Drift is how many rows of a read model are not what the log makes of it, on either side.
type Drift struct {
	Table string
	Rows  int
}

// Check compares the read models with what the log makes of them, and changes nothing. No drift: nil.
func (p *Projections) Check(ctx context.Context, w pg.Workspace, progress Progress) (drifts []Drift, err error) {
	err = p.withShadow(ctx, w, progress, func(int64) error {
		drifts, err = p.compare(ctx, w)
		return err
	})
	return drifts, err
}

func shadowOf(w pg.Workspace) string { return w.Schema() + "_shadow" }

// withShadow folds the log into shadow tables, up to where the live ones are, and hands them to use. One
// process at a time does so for a workspace; the lock is the transaction's that stays open meanwhile.
func (p *Projections) withShadow(ctx context.Context, w pg.Workspace, progress Progress, use func(position int64) error) error {
	return p.db.Control(ctx, func(tx pgx.Tx) error {
		var first bool
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock(hashtextextended($1, 0))`, shadowOf(w)).Scan(&first); err != nil {
			return err
		}
		if !first {
			return fmt.Errorf("workspace %s is being rebuilt already", w.ID)
		}
		// A migration locks this row for itself: one that came meanwhile would be undone by the swap.
		if _, err := tx.Exec(ctx, `select from kluis.workspace where id = $1 for share`, w.ID); err != nil {
			return fmt.Errorf("keep migrations off: %w", err)
		}
		if err := p.makeShadow(ctx, w); err != nil {
			return fmt.Errorf("make shadow tables: %w", err)
		}
		indexes, err := p.takeIndexes(ctx, w)
		if err != nil {
			return fmt.Errorf("take the indexes off the shadow tables: %w", err)
		}
		position, err := p.fillShadow(ctx, w, progress)
		if err != nil {
			return fmt.Errorf("fill shadow tables: %w", err)
		}
		if err := p.finishShadow(ctx, w, indexes); err != nil {
			return fmt.Errorf("index the shadow tables: %w", err)
		}
		if err := use(position); err != nil {
			return err
		}
		//sqlcheck:allow names of our own tables and schemas
		return p.own(ctx, "drop schema "+shadowOf(w)+" cascade")
	})
}

// rebuilt are the tables that a rebuild makes anew. checkpoint comes first: every catch-up and every read
// touches it before the others, so that whoever holds it waits for nobody who waits for it.
func rebuilt() []string {
	tables := []string{"checkpoint"}
	for _, m := range models {
		tables = append(tables, m.table())
	}
	return tables
}

func (p *Projections) makeShadow(ctx context.Context, w pg.Workspace) error {
	live, shadow := w.Schema(), shadowOf(w)
	//sqlcheck:allow names of our own tables and schemas
	if err := p.own(ctx, "drop schema if exists "+shadow+" cascade"); err != nil { // left behind by one that was killed
		return err
	}
	err := p.db.Control(ctx, func(tx pgx.Tx) error { // only the login may make schemas
		_, err := tx.Exec(ctx, "create schema "+shadow+" authorization "+pg.Owner) //sqlcheck:allow a name made of the workspace's id
		return err
	})
	if err != nil {
		return err
	}
	var sql strings.Builder
	fmt.Fprintf(&sql, "grant usage on schema %s to %s;", shadow, live)
	for _, table := range rebuilt() {
		fmt.Fprintf(&sql, "create table %[1]s.%[3]s (like %[2]s.%[3]s including all);", shadow, live, table)
	}
	fmt.Fprintf(&sql, "grant select, insert, update on all tables in schema %s to %s;", shadow, live)
	fmt.Fprintf(&sql, "insert into %s.checkpoint (position, roster) values (0, 0)", shadow)
	//sqlcheck:allow names of our own tables and schemas
	return p.own(ctx, sql.String())
}

// takeIndexes drops the indexes of the shadow tables but for their keys, and gives the SQL that makes them
// again, by table: an index on rows that are there costs a fraction of one that follows every change.
func (p *Projections) takeIndexes(ctx context.Context, w pg.Workspace) (again map[string]string, err error) {
	var drop string
	err = p.db.Own(ctx, "", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `select coalesce(json_object_agg(name, again), '{}'), coalesce(string_agg(dropping, ';'), '') from (
			select c.relname as name, string_agg(pg_get_indexdef(i.indexrelid), ';') as again,
				string_agg(format('drop index %s', i.indexrelid::regclass), ';') as dropping
			from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
			where n.nspname = $1 and not i.indisprimary group by c.relname) as of_table`, shadowOf(w)).Scan(&again, &drop)
	})
	if err != nil {
		return nil, err
	}
	//sqlcheck:allow what Postgres says of our own indexes
	return again, p.own(ctx, drop)
}

// finishShadow makes the indexes of the shadow tables, and lets Postgres know roughly what is in them, or the first reads
// after a swap would be planned blindly; it looks closer by itself later.
func (p *Projections) finishShadow(ctx context.Context, w pg.Workspace, indexes map[string]string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for _, table := range rebuilt() {
		group.Go(func() error {
			//sqlcheck:allow what Postgres says of our own indexes, and names of our own tables
			return p.own(ctx, indexes[table]+"; set local default_statistics_target = 10; analyze "+shadowOf(w)+"."+table)
		})
	}
	return group.Wait()
}

// own runs an SQL text whose names are those of our own tables, and of schemas made of a workspace's id.
func (p *Projections) own(ctx context.Context, sql string) error {
	return p.db.Own(ctx, "", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql) //sqlcheck:allow names of our own tables and schemas
		return err
	})
}

// rebuildSize is how many events a rebuild takes into one transaction, and holds in memory twice: a thing that changes
// often is written once for a page.
const rebuildSize = 20_000

// fillShadow folds up to where the live read models are when it gets there: never beyond, so that a swap
// takes nobody forward or back. The next page is read and decoded while one is stored.
func (p *Projections) fillShadow(ctx context.Context, w pg.Workspace, progress Progress) (position int64, err error) {
	mark, err := p.CatchUp(ctx, w)
	if err != nil {
		return 0, err
	}
	pages := make(chan []domain.Record)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(pages)
		return p.readPages(ctx, w, mark.Position, pages)
	})
	var filled Mark
	group.Go(func() error {
		for records := range pages {
			if err := p.fillPage(ctx, w, records, &filled); err != nil {
				return err
			}
			if progress != nil {
				progress(filled.Position, mark.Position)
			}
		}
		return nil
	})
	return mark.Position, group.Wait()
}

// readPages sends the log, up to a position, in pages.
func (p *Projections) readPages(ctx context.Context, w pg.Workspace, upTo int64, pages chan<- []domain.Record) error {
	for first := int64(1); first <= upTo; first += rebuildSize {
		var records []domain.Record
		err := p.db.Read(ctx, w, pg.Collect(&records, decodeRow, `select `+foldColumns+` from event where position between $1 and $2 order by position`,
			first, min(first+rebuildSize-1, upTo)))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			continue
		}
		select {
		case pages <- records:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// fillPage folds a page into the shadow tables, from where filled is.
func (p *Projections) fillPage(ctx context.Context, w pg.Workspace, records []domain.Record, filled *Mark) error {
	return p.db.Over(ctx, w, shadowOf(w), func(tx *pg.Tx) error {
		if err := tx.Run(ctx, pg.Exec(`set local synchronous_commit = off`)); err != nil { // what is lost in a crash is begun afresh
			return err
		}
		stores, err := foldIn(ctx, tx, records, filled)
		if err != nil {
			return err
		}
		return tx.Commit(ctx, stores...)
	})
}

// aligned runs fn in a transaction in which the shadow tables are where the live ones are, and nobody
// reads or folds. Those who come meanwhile wait behind it, and while it waits for a long read they would wait
// for that too: so it waits for a moment only, gives way, and tries again.
func (p *Projections) aligned(ctx context.Context, w pg.Workspace, fn func(tx *pg.Tx) error) error {
	for try := 0; ; try++ {
		err := p.db.OverAsOwner(ctx, w, shadowOf(w), func(tx *pg.Tx) error {
			if err := alignShadow(ctx, tx, w); err != nil {
				return err
			}
			return fn(tx)
		})
		if !pg.Is(err, pg.LockNotAvailable) || try == 300 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// alignShadow keeps everybody off the live checkpoint, folds what came since fillShadow, and leaves both
// sides at the same position, until the transaction ends.
func alignShadow(ctx context.Context, tx *pg.Tx, w pg.Workspace) error {
	if err := tx.Script(ctx, "set local lock_timeout = '50ms'; lock table "+w.Schema()+".checkpoint in access exclusive mode"); err != nil { //sqlcheck:allow the workspace's schema
		return fmt.Errorf("wait for reads and catch-ups under way: %w", err)
	}
	var live int64
	if err := tx.Run(ctx, pg.Exec("select position from "+w.Schema()+".checkpoint").Scan(&live)); err != nil { //sqlcheck:allow the workspace's schema
		return err
	}
	_, err := foldPage(ctx, tx, math.MaxInt32, live, 50*time.Millisecond, tx.Run) // and no longer for the tables, which a read may hold that waits for us
	return err
}

func (p *Projections) swap(ctx context.Context, w pg.Workspace) error {
	live, shadow := w.Schema(), shadowOf(w)
	var sql strings.Builder
	for _, table := range rebuilt() {
		fmt.Fprintf(&sql, "drop table %[2]s.%[3]s; alter table %[1]s.%[3]s set schema %[2]s;", shadow, live, table)
	}
	return p.aligned(ctx, w, func(tx *pg.Tx) error {
		return tx.Script(ctx, sql.String()) //sqlcheck:allow names of our own tables, and of the workspace's id
	})
}

func (p *Projections) compare(ctx context.Context, w pg.Workspace) (drifts []Drift, err error) {
	live, shadow := w.Schema(), shadowOf(w)
	err = p.aligned(ctx, w, func(tx *pg.Tx) error {
		drifts = nil
		for _, table := range rebuilt() {
			var rows int
			a, b := live+"."+table, shadow+"."+table
			//sqlcheck:allow names of our own tables, and of the workspace's id
			err := tx.Run(ctx, pg.Exec(fmt.Sprintf(`select count(*) from ((table %[1]s except table %[2]s) union all (table %[2]s except table %[1]s)) as d`, a, b)).Scan(&rows))
			if err != nil {
				return fmt.Errorf("compare %s: %w", table, err)
			}
			if rows > 0 {
				drifts = append(drifts, Drift{Table: table, Rows: rows})
			}
		}
		return nil
	})
	return drifts, err
}
