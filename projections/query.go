package projections

import (
	"context"
	"slices"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// The sight of the caller, a scope, is compiled into every query as two parameters, $1 the scope and $2 the
// member, so that the text of a query stays constant. Each noun has one predicate, its "own": the rows that
// scope own reaches, and "visible" around it: list, get, history and commands all use that one.

// get answers with the one row that a query finds, fresh, or that there is no such noun.
func get[T any](ctx context.Context, p *Projections, w pg.Workspace, noun, sql string, args ...any) (T, Mark, error) {
	var rows []T
	mark, err := p.Fresh(ctx, w, pg.Rows(&rows, sql, args...).Light())
	switch {
	case err != nil:
	case mark.Behind() > 0 && (len(rows) == 0 || isScoped(args)): // it may be among the events that are missing
		err = catchingUp(mark)
	case len(rows) == 0:
		err = domain.Missing(noun)
	}
	if err != nil {
		var none T
		return none, mark, err
	}
	return rows[0], mark, nil
}

// isScoped tells whether a query asks for less than all there is. Then a row that is behind may show what the caller may see no
// longer, so that such a query is answered from fresh rows alone.
func isScoped(args []any) bool {
	return slices.ContainsFunc(args, func(arg any) bool { scope, is := arg.(domain.Scope); return is && scope != domain.All })
}

// list answers with rows. The query is planned for what is asked: which index is the right one depends on which filters are there.
func list[T any](ctx context.Context, p *Projections, w pg.Workspace, sql string, args ...any) (rows []T, mark Mark, err error) {
	mark, err = p.Fresh(ctx, w, pg.PlanEach(), pg.Rows(&rows, sql, args...))
	if err == nil && mark.Behind() > 0 && isScoped(args) {
		return nil, mark, catchingUp(mark)
	}
	return rows, mark, err
}
