package pg

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/panics"
)

// Statement is one SQL text with its arguments and with what to do with its rows. Several of them make
// one round trip: see DB.Do.
type Statement struct {
	sql  string
	args []any
	read func(pgx.Rows) error

	into   scan // of Scan
	light  bool
	common bool
}

// Light says that the statement takes a moment and sets nothing: a Read of such statements goes together with others of the workspace.
func (s Statement) Light() Statement {
	s.light = true
	return s
}

// Common says of a light statement with Scan that its text and its arguments are the same for all who ask: of those that go together it is
// sent once, and each reads its answer.
func (s Statement) Common() Statement {
	s.common = true
	return s
}

// along is a statement in common, for another caller as well.
func (s Statement) along(other Statement) Statement {
	s.into = slices.Concat(s.into, other.into)
	s.read = s.into.read
	return s
}

// Exec is a statement whose rows, if any, do not matter.
func Exec(sql string, args ...any) Statement {
	return Statement{sql: sql, args: args}
}

// PlanEach has the statements behind it, in the same transaction, planned for their parameters. Others are planned once,
// whatever the parameters: see enter.
func PlanEach() Statement {
	return Exec(`set local plan_cache_mode = 'force_custom_plan'`)
}

// Scan reads the one row of the statement into dest; pgx.ErrNoRows when there is none.
func (s Statement) Scan(dest ...any) Statement {
	s.into = scan{dest}
	s.read = s.into.read
	return s
}

// scan is where the columns of one row go, once or more.
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

// Rows is a statement whose every row becomes a T, columns matched to fields by name unless T reads rows itself.
func Rows[T any](into *[]T, sql string, args ...any) Statement {
	if _, is := any(new(T)).(pgx.RowScanner); is {
		return Collect(into, pgx.RowTo[T], sql, args...)
	}
	return Collect(into, pgx.RowToStructByName[T], sql, args...)
}

// Column is a statement whose rows have one column.
func Column[T any](into *[]T, sql string, args ...any) Statement {
	return Collect(into, pgx.RowTo[T], sql, args...)
}

// Collect is a statement whose every row becomes a T by row.
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

// answer reads the rows of the statement. A panic in doing so is an error: several callers may share the round trip and the transaction.
func (s Statement) answer(rows pgx.Rows) error {
	return panics.Caught(func() error { return s.read(rows) })()
}
