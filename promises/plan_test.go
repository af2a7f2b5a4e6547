package promises

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// growing are the tables that have many rows one day.
var growing = []string{"attachment", "comment", "event", "search", "tag", "task", "task_key", "time_entry"}

// readWhole are beginnings of statements that look through all rows of a growing table: there are not many of those.
var readWhole = []string{
	"select old.id from tag as old join tag as now", // what was merged into a tag
	"select to_jsonb(t)::text from ",                // a person's report
}

// planNode is a step of a plan, as EXPLAIN gives it.
type planNode struct {
	Type  string     `json:"Node Type"`
	Table string     `json:"Relation Name"`
	Index string     `json:"Index Name"`
	Cond  string     `json:"Index Cond"`
	Plans []planNode `json:"Plans"`
}

// A lane plans each statement once, mostly when the tables are empty, and keeps the plan when they have grown. So no plan that the lanes have
// after every operation was called reads a growing table in whole, but up to the end of a page.
func TestPlansOfLanes(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	x := p.newTenant(t)
	for _, op := range schema().operations {
		var body any
		if op.RequestBody != nil && op.RequestBody.Value.Content["application/json"] != nil {
			body = x.real(op.RequestBody.Value.Content["application/json"].Example, map[string]string{"assignee_ids": "member", "project_id": "home", "tag_ids": "tag", "task_id": "task"})
		}
		if op.id == "log-out" || strings.HasPrefix(op.id, "erase") {
			continue
		}
		x.call(t, op.method, op.at(x.ids(t, op)), body)
	}
	plans := 0
	for _, pool := range p.db.Lane(x.workspace) {
		for _, conn := range pool.AcquireAllIdle(t.Context()) {
			plans += x.checkPlans(t, conn)
			conn.Release()
		}
	}
	if plans < 100 {
		t.Errorf("only %d plans", plans)
	}
}

func (x *tenant) checkPlans(t *testing.T, conn *pgxpool.Conn) (plans int) {
	t.Helper()
	ctx := context.Background()
	type prepared struct {
		Name, Statement string
		Parameters      int
	}
	rows, _ := conn.Query(ctx, `select name, statement, cardinality(parameter_types) as parameters from pg_prepared_statements where name like 'ws_%'`)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[prepared])
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, `select set_config('search_path', $1, true), set_config('role', $1, true)`, x.workspace.Schema()); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if strings.HasPrefix(s.Statement, "set ") {
			continue
		}
		execute := "execute " + s.Name
		if s.Parameters > 0 {
			execute += "(" + strings.TrimPrefix(strings.Repeat(", null", s.Parameters), ", ") + ")"
		}
		var text []byte
		//sqlcheck:allow the name of a prepared statement
		if err := tx.QueryRow(ctx, "explain (format json) "+execute).Scan(&text); err != nil {
			t.Fatalf("%s: %v", s.Statement, err)
		}
		var plan []struct{ Plan planNode }
		if err := json.Unmarshal(text, &plan); err != nil {
			t.Fatal(err)
		}
		excused := slices.ContainsFunc(readWhole, func(begin string) bool { return strings.HasPrefix(s.Statement, begin) })
		if whole := plan[0].Plan.whole(); whole != "" && !excused {
			t.Errorf("reads %s in whole: %s", whole, s.Statement)
		}
		plans++
	}
	return plans
}

// whole names a growing table that a plan reads from its beginning to its end.
func (n planNode) whole() string {
	scan := n.Type == "Seq Scan" || strings.HasPrefix(n.Type, "Index") && n.Cond == ""
	if scan && slices.Contains(growing, n.Table) {
		return fmt.Sprintf("%s (%s %s)", n.Table, n.Type, n.Index)
	}
	if n.Type == "Limit" {
		return ""
	}
	for _, below := range n.Plans {
		if whole := below.whole(); whole != "" {
			return whole
		}
	}
	return ""
}
