package projections

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/internal/pg"
)

// makeShadow drops the shadows of killed rebuilds and makes the schema of a new one.
func (p *Projections) makeShadow(ctx context.Context, w pg.Workspace) (pg.Shadow, error) {
	if err := p.dropShadows(ctx, w); err != nil {
		return pg.Shadow{}, err
	}
	s := pg.NewShadow(w)
	return s, p.makeTables(ctx, s)
}

// makeTables makes a schema with tables like the live ones but without their indexes. An index that is made at the end costs a fraction of an index
// that follows every change.
func (p *Projections) makeTables(ctx context.Context, s pg.Shadow) error {
	if err := p.db.Admin(ctx, func(tx pgx.Tx) error { return pg.CreateSchema(ctx, tx, s.Schema()) }); err != nil {
		return err
	}
	var sql strings.Builder
	for _, m := range tables() {
		fmt.Fprintf(&sql, "create unlogged table %[1]s.%[3]s (like %[2]s.%[3]s including defaults including generated including storage, primary key (id));", s.Schema(), s.Workspace.Schema(), m.table())
	}
	return p.own(ctx, sql.String()) //sqlcheck:allow names of our own tables and schemas
}

// dropShadows drops every shadow of a workspace.
func (p *Projections) dropShadows(ctx context.Context, w pg.Workspace) error {
	var names []string
	err := p.db.Admin(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select nspname from pg_namespace where starts_with(nspname, $1)`, pg.Shadow{Workspace: w}.Schema())
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	for _, name := range names {
		if err == nil {
			err = p.own(ctx, "drop schema if exists "+name+" cascade") //sqlcheck:allow a name made of the workspace's id
		}
	}
	return err
}

// indexShadow collects the statistics of the shadow tables, on which the plan of the comparison with the live tables depends.
func (p *Projections) indexShadow(ctx context.Context, s pg.Shadow) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for _, m := range tables() {
		group.Go(func() error {
			return p.own(ctx, "set local default_statistics_target = 10; analyze "+s.Schema()+"."+m.table()) //sqlcheck:allow names of our own tables
		})
	}
	return group.Wait()
}

// own runs an SQL text as the owner. Its names are those of the program's tables and of schemas named after a workspace's id.
func (p *Projections) own(ctx context.Context, sql string) error {
	return p.db.Own(ctx, "", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "set local statement_timeout = 0;"+sql) //sqlcheck:allow names of our own tables and schemas
		return err
	})
}
