package projections

import (
	"context"
	"slices"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// The access of the caller is in every query as two parameters, $1 the scope and $2 the member, so that the text of a query stays constant. Each
// noun has one predicate, "own", for the rows that scope own reaches, and "visible" around it. List, get, history and commands all use these.

// get answers with the one row that a fresh query finds, or with domain.Missing.
func get[T any](ctx context.Context, p *Projections, w pg.Workspace, noun, sql string, args ...any) (T, Mark, error) {
	var rows []T
	mark, err := p.Fresh(ctx, w, pg.Rows(&rows, sql, args...).Light())
	switch {
	case err != nil:
	case mark.Behind() > 0 && (len(rows) == 0 || isScoped(args)): // the missing events may create the thing, or change the access to it
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

// isScoped tells whether a query has a scope below all. Such a query is answered from fresh rows alone, because a row that is behind may show a
// thing that the caller may no longer see.
func isScoped(args []any) bool {
	return slices.ContainsFunc(args, func(arg any) bool { scope, is := arg.(domain.Scope); return is && scope != domain.All })
}

// list answers with rows. The query is planned for its parameters, because the right index depends on the filters.
func list[T any](ctx context.Context, p *Projections, w pg.Workspace, sql string, args ...any) (rows []T, mark Mark, err error) {
	mark, err = p.Fresh(ctx, w, pg.PlanEach(), pg.Rows(&rows, sql, args...))
	if err == nil && mark.Behind() > 0 && isScoped(args) {
		return nil, mark, catchingUp(mark)
	}
	return rows, mark, err
}
