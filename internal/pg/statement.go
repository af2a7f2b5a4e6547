package pg

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/panics"
)

// Statement is one SQL text with its arguments, and with what is done with its rows. Several statements go in one round trip: see DB.Do.
type Statement struct {
	sql  string
	args []any
	read func(pgx.Rows) error

	into   scan // the destinations of Scan
	light  bool
	common bool
}

// Light says that the statement takes a moment and changes no setting. A Read of light statements shares snapshot and round trip with others.
func (s Statement) Light() Statement {
	s.light = true
	return s
}

// Common says that the text and the arguments of a light statement with Scan are the same for all callers. When several reads of a workspace go
// together, it is sent once, and each reads its answer.
func (s Statement) Common() Statement {
	s.common = true
	return s
}

// along is a common statement that gives its answer to another caller as well.
func (s Statement) along(other Statement) Statement {
	s.into = slices.Concat(s.into, other.into)
	s.read = s.into.read
	return s
}

// Exec is a statement whose rows do not matter, unless Scan reads one.
func Exec(sql string, args ...any) Statement {
	return Statement{sql: sql, args: args}
}

// PlanEach has the statements behind it in the same transaction planned for their parameters. Without it, Postgres plans a statement once,
// whatever the parameters: see newLanes.
func PlanEach() Statement {
	return Exec(`set local plan_cache_mode = 'force_custom_plan'`)
}

// Scan reads the first row of the statement into dest. When there is none, the error is pgx.ErrNoRows.
func (s Statement) Scan(dest ...any) Statement {
	s.into = scan{dest}
	s.read = s.into.read
	return s
}

// scan has the destinations of the columns of one row, for each caller who wants it.
type scan [][]any

func (s scan) read(rows pgx.Rows) error {
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	for _, dest := range s {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
	}
	return nil
}

// Rows is a statement whose every row becomes a T: columns go to the fields of their names, unless T is a pgx.RowScanner.
func Rows[T any](into *[]T, sql string, args ...any) Statement {
	if _, is := any(new(T)).(pgx.RowScanner); is {
		return Collect(into, pgx.RowTo[T], sql, args...)
	}
	return Collect(into, pgx.RowToStructByName[T], sql, args...)
}

// Column is a statement whose rows have one column, a T.
func Column[T any](into *[]T, sql string, args ...any) Statement {
	return Collect(into, pgx.RowTo[T], sql, args...)
}

// Collect is a statement whose every row becomes a T by the function row.
func Collect[T any](into *[]T, row pgx.RowToFunc[T], sql string, args ...any) Statement {
	read := func(rows pgx.Rows) error {
		all, err := pgx.CollectRows(rows, row)
		*into = all
		return err
	}
	return Statement{sql: sql, args: args, read: read}
}

// Queue adds the statement to a batch of a transaction that is open already.
func (s Statement) Queue(batch *pgx.Batch) { s.queue(batch, s.sql) }

// queue adds the statement by its text, or by the name under which it is prepared.
func (s Statement) queue(batch *pgx.Batch, name string) {
	queued := batch.Queue(name, s.args...) //sqlcheck:allow the text that Exec and its like were given, or its name
	if s.read != nil {
		queued.Query(s.answer)
	}
}

// answer reads the rows of the statement. A panic in doing so becomes an error, because other callers may share the round trip.
func (s Statement) answer(rows pgx.Rows) error {
	return panics.Caught(func() error { return s.read(rows) })()
}
