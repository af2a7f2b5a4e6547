// Package moving copies the rows of a workspace from one database to another while they are in use.
//
//  1. All copies everything, of one snapshot.
//  2. Catch copies what has changed since, as often as is wanted, and once more behind a fence.
//
// The transaction that wrote a row (xmin) tells whether the row has changed. Tables of which the workspace's role may delete rows are few, and
// are copied whole each time. The package knows the meaning of no table except those of the log: so a table that is added tomorrow is
// copied, too.
package moving

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

// Copy is a workspace on its way. The caller calls All first, and then Catch and CatchIn, one after the other.
type Copy struct {
	from, to  *pg.DB
	workspace pg.Workspace
	tables    []table
	stage     pg.Shadow // in the target: changed rows arrive here before they replace the old ones
	since     string    // every transaction before this one is copied
}

// table is one table, in both databases.
type table struct {
	Name    string   // quoted
	Columns []string // quoted, without generated ones
	Key     []string // quoted
	Deletes bool     // the workspace's role may delete rows
}

// New prepares to copy. It is an error when the databases do not have the same tables of the workspace.
func New(ctx context.Context, from, to *pg.DB, w pg.Workspace) (*Copy, error) {
	c := &Copy{from: from, to: to, workspace: w, stage: pg.NewShadow(w)}
	var there []table
	for db, into := range map[*pg.DB]*[]table{from: &c.tables, to: &there} {
		err := db.Own(ctx, w.Schema(), func(tx pgx.Tx) (err error) {
			*into, err = tablesOf(ctx, tx, w.Schema())
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look up the tables of a workspace: %w", err)
		}
	}
	same := func(a, b table) bool {
		return a.Name == b.Name && slices.Equal(a.Columns, b.Columns) && slices.Equal(a.Key, b.Key) && len(a.Key) > 0
	}
	if !slices.EqualFunc(c.tables, there, same) {
		return nil, fmt.Errorf("the tables of the workspace are not the same in both databases: run `kluis migrate`")
	}
	return c, nil
}

func tablesOf(ctx context.Context, tx pgx.Tx, schema string) ([]table, error) {
	rows, _ := tx.Query(ctx, `select quote_ident(c.relname) as name,
			array(select quote_ident(a.attname) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = '' order by a.attname) as columns,
			array(select quote_ident(a.attname) from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey) where i.indrelid = c.oid and i.indisprimary order by a.attname) as key,
			has_table_privilege($1, c.oid, 'DELETE') and c.relname <> 'dedupe' as deletes -- from dedupe goes what is old, by itself
		from pg_class c where c.relnamespace = to_regnamespace($1) and c.relkind = 'r' order by c.relname`, schema)
	return pgx.CollectRows(rows, pgx.RowToStructByName[table])
}

// unbounded lets a transaction take as long as its work does.
const unbounded = `set local statement_timeout = 0; set local idle_in_transaction_session_timeout = '10min'`

// All copies every row, of one snapshot, in place of what has arrived before. It returns the number of rows.
func (c *Copy) All(ctx context.Context, progress func(table string, rows int64)) (rows int64, err error) {
	err = c.from.Admin(ctx, func(from pgx.Tx) error {
		if _, err := from.Exec(ctx, `set transaction isolation level repeatable read, read only; `+unbounded); err != nil {
			return err
		}
		if err := pg.BecomeOwner(ctx, from, c.workspace.Schema()); err != nil {
			return err
		}
		if err := c.mark(ctx, from); err != nil {
			return err
		}
		return c.to.Own(ctx, c.workspace.Schema(), func(to pgx.Tx) error {
			names := make([]string, len(c.tables))
			for i, t := range c.tables {
				names[i] = t.Name
			}
			//sqlcheck:allow names that Postgres quoted
			if _, err := to.Exec(ctx, unbounded+`; truncate `+strings.Join(names, ", ")); err != nil {
				return err
			}
			for _, t := range c.tables {
				n, err := pg.Pipe(ctx, from, to, t.selects(""), t.into(""))
				if err != nil {
					return err
				}
				rows += n
				progress(t.Name, rows)
			}
			return nil
		})
	})
	if err != nil {
		return rows, err
	}
	return rows, c.makeStage(ctx)
}

// mark notes where a snapshot of the source begins: it sees everything that older transactions have written.
func (c *Copy) mark(ctx context.Context, from pgx.Tx) error {
	return from.QueryRow(ctx, `select pg_snapshot_xmin(pg_current_snapshot())::xid::text`).Scan(&c.since)
}

func (t table) selects(where string) string {
	return `select ` + strings.Join(t.Columns, ", ") + ` from ` + t.Name + where
}

func (t table) into(schema string) string {
	return schema + t.Name + ` (` + strings.Join(t.Columns, ", ") + `)`
}

// makeStage makes tables like those of the workspace, in which changed rows arrive.
func (c *Copy) makeStage(ctx context.Context) error {
	if err := c.to.Admin(ctx, func(tx pgx.Tx) error { return pg.CreateSchema(ctx, tx, c.stage.Schema()) }); err != nil {
		return err
	}
	var sql strings.Builder
	for _, t := range c.tables {
		fmt.Fprintf(&sql, "create unlogged table %[1]s.%[3]s (like %[2]s.%[3]s including defaults including generated, primary key (%[4]s));", c.stage.Schema(), c.workspace.Schema(), t.Name, strings.Join(t.Key, ", "))
	}
	return c.to.Own(ctx, "", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql.String()) //sqlcheck:allow names that Postgres quoted, and of the workspace's id
		return err
	})
}

// Close drops what only the copying needed.
func (c *Copy) Close(ctx context.Context) error {
	return c.to.Own(ctx, "", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `drop schema if exists `+c.stage.Schema()+` cascade`) //sqlcheck:allow a name made of the workspace's id
		return err
	})
}

// Catch copies what has changed since the last time. It returns the number of rows.
func (c *Copy) Catch(ctx context.Context) (rows int64, err error) {
	err = c.from.Admin(ctx, func(from pgx.Tx) error {
		if _, err := from.Exec(ctx, `set transaction isolation level repeatable read, read only; `+unbounded); err != nil {
			return err
		}
		if err := pg.BecomeOwner(ctx, from, c.workspace.Schema()); err != nil {
			return err
		}
		rows, err = c.CatchIn(ctx, from)
		return err
	})
	return rows, err
}

// CatchIn is Catch in a transaction of the source's owner, in the workspace's schema, which may have locked the tables. It does not copy the Merkle
// tree again: that of the target grows from the records that have arrived, and so proves that they have.
func (c *Copy) CatchIn(ctx context.Context, from pgx.Tx) (rows int64, err error) {
	since := c.since
	if err := c.mark(ctx, from); err != nil {
		return 0, err
	}
	err = c.to.Own(ctx, c.workspace.Schema(), func(to pgx.Tx) error {
		var last, pruned, prunedThere int64
		if err := to.QueryRow(ctx, `select coalesce((select max(position) from event), 0), (select pruned from head)`).Scan(&last, &pruned); err != nil {
			return err
		}
		if err := from.QueryRow(ctx, `select pruned from head`).Scan(&prunedThere); err != nil {
			return err
		}
		if pruned != prunedThere {
			return fmt.Errorf("the log was pruned up to %d meanwhile: begin anew", prunedThere)
		}
		changed, err := c.changed(ctx, from, since, last)
		if err != nil {
			return err
		}
		if _, err := to.Exec(ctx, unbounded); err != nil {
			return err
		}
		for _, t := range changed {
			n, err := c.replace(ctx, from, to, t)
			if err != nil {
				return err
			}
			rows += n
		}
		return c.control(ctx, from, to)
	})
	if err != nil {
		c.since = since // the target was rolled back
	}
	return rows, err
}

// part is the part of a table that is to be copied.
type part struct {
	table
	where string
}

// changed finds the tables that have changed, by one query.
func (c *Copy) changed(ctx context.Context, from pgx.Tx, since string, last int64) (parts []part, err error) {
	var exists []string
	for _, t := range c.tables {
		p := part{t, fmt.Sprintf(` where age(xmin) <= age('%s'::xid)`, since)}
		switch {
		case t.Name == "tree" || t.Name == "tile":
			continue
		case t.Name == "event":
			p.where = fmt.Sprintf(` where position > %d`, last)
		case t.Deletes:
			p.where = ""
		}
		parts = append(parts, p)
		if t.Deletes {
			exists = append(exists, `true`)
		} else {
			exists = append(exists, `exists (select from `+t.Name+p.where+`)`)
		}
	}
	var changed []bool
	//sqlcheck:allow names that Postgres quoted, and numbers
	if err := from.QueryRow(ctx, `select array[`+strings.Join(exists, ", ")+`]`).Scan(&changed); err != nil {
		return nil, fmt.Errorf("find what has changed: %w", err)
	}
	i := -1
	return slices.DeleteFunc(parts, func(part) bool { i++; return !changed[i] }), nil
}

// replace brings the changed rows of a table into the target, in place of the old ones.
func (c *Copy) replace(ctx context.Context, from, to pgx.Tx, p part) (int64, error) {
	if p.Deletes {
		if _, err := to.Exec(ctx, `delete from `+p.Name); err != nil { //sqlcheck:allow a name that Postgres quoted
			return 0, err
		}
		return pg.Pipe(ctx, from, to, p.selects(""), p.into(""))
	}
	staged := c.stage.Schema() + "." + p.Name
	if _, err := to.Exec(ctx, `truncate `+staged); err != nil { //sqlcheck:allow a name that Postgres quoted
		return 0, err
	}
	n, err := pg.Pipe(ctx, from, to, p.selects(p.where), p.into(c.stage.Schema()+"."))
	if err != nil || n == 0 {
		return n, err
	}
	same := make([]string, len(p.Key))
	for i, column := range p.Key {
		same[i] = "old." + column + " = new." + column
	}
	columns := strings.Join(p.Columns, ", ")
	//sqlcheck:allow names that Postgres quoted
	_, err = to.Exec(ctx, `delete from `+p.Name+` old using `+staged+` new where `+strings.Join(same, " and ")+`;
		insert into `+p.Name+` (`+columns+`) select `+columns+` from `+staged)
	return n, err
}

// control copies the rows of the workspace in the control schema, such as an import that waits.
func (c *Copy) control(ctx context.Context, from, to pgx.Tx) error {
	names, err := tenancy.ControlTables(ctx, from)
	if err != nil {
		return err
	}
	all, err := tablesOf(ctx, from, "kluis")
	if err != nil {
		return err
	}
	for _, t := range all {
		if !slices.Contains(names, t.Name) {
			continue
		}
		t.Name = "kluis." + t.Name
		where := fmt.Sprintf(` where workspace_id = '%s'`, c.workspace.ID)
		if _, err := to.Exec(ctx, `delete from `+t.Name+where); err != nil { //sqlcheck:allow a name that Postgres quoted, and an id
			return err
		}
		if _, err := pg.Pipe(ctx, from, to, t.selects(where), t.into("")); err != nil {
			return err
		}
	}
	return nil
}
