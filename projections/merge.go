package projections

import (
	"context"
	"fmt"
	"strings"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// merge makes the live rows equal to the shadow's by changing the rows that differ. So the tables stay, with their views, grants and readers.
func merge(ctx context.Context, tx *pg.Tx, s pg.Shadow) error {
	for _, m := range tables() {
		of := func(format string) string {
			return strings.NewReplacer("SHADOW", s.Schema()+"."+m.table(), "LIVE", m.table(), "COLUMNS", m.columnList(),
				"VALUES", columnsOf("s", m), "OLD", columnsOf("l", m)).Replace(format)
		}
		for _, sql := range []string{
			`delete from LIVE l where not exists (select from SHADOW s where s.id = l.id)`,
			`update LIVE l set (COLUMNS) = row (VALUES) from SHADOW s where s.id = l.id and (OLD) is distinct from (VALUES)`,
			`insert into LIVE (COLUMNS) select VALUES from SHADOW s where not exists (select from LIVE l where l.id = s.id)`,
		} {
			//sqlcheck:allow names of our own tables, and of the workspace's id
			if err := tx.Script(ctx, of(sql)); err != nil {
				return fmt.Errorf("merge %s: %w", m.table(), err)
			}
		}
	}
	return nil
}

// columnsOf gives the columns of a read model that this program knows, with the alias of a table. A newer program may have added others.
func columnsOf(alias string, m table) string {
	return alias + "." + strings.ReplaceAll(m.columnList(), ", ", ", "+alias+".")
}

// compare counts the rows that merge would change. A checkpoint with another version of the roster counts as one row.
func compare(ctx context.Context, tx *pg.Tx, s pg.Shadow, roster int) (drifts []Drift, err error) {
	drift := func(table, sql string, args ...any) error {
		var rows int
		//sqlcheck:allow one of the two below
		if err := tx.Run(ctx, pg.Exec(sql, args...).Scan(&rows)); err != nil {
			return fmt.Errorf("compare %s: %w", table, err)
		}
		if rows > 0 {
			drifts = append(drifts, Drift{Table: table, Rows: rows})
		}
		return nil
	}
	if err := drift("checkpoint", `select count(*) from checkpoint where roster <> $1`, roster); err != nil {
		return nil, err
	}
	for _, m := range tables() {
		sql := fmt.Sprintf(`select count(*) from %[1]s l full join %[2]s.%[1]s s on s.id = l.id where (%[3]s) is distinct from (%[4]s)`,
			m.table(), s.Schema(), columnsOf("l", m), columnsOf("s", m))
		//sqlcheck:allow names of our own tables, and of the workspace's id
		if err := drift(m.table(), sql); err != nil {
			return nil, err
		}
	}
	return drifts, nil
}

func (d Drift) finding() eventstore.Finding {
	return eventstore.Finding{Kind: eventstore.ReadModel, Detail: fmt.Sprintf("%d rows of %s; `kluis rebuild` mends them", d.Rows, d.Table)}
}
