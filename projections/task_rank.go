package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Anchor is a task beside which other tasks are put, with the ranks of its neighbours in its project; a rank is empty when there is no neighbour.
type Anchor struct {
	ID             uuid.UUID
	Version        int
	Visible        bool // and not deleted
	Rank           string
	ProjectID      uuid.UUID // in which it is; uuid.Nil for none
	ProjectVersion int
	Before, Behind string
}

var anchors = `select id, version, deleted_at is null and coalesce(` + taskSight.visible("$1") + `, false) as visible, rank,
		coalesce(project_id, ` + nobody + `) as project_id, coalesce((select version from project as its where its.id = project_id), 0) as project_version,
		coalesce((select max(rank) from task as other where other.project_id = task.project_id and other.rank < task.rank),
			(select max(rank) from task as other where task.project_id is null and other.project_id is null and other.rank < task.rank), '') as before,
		coalesce((select min(rank) from task as other where other.project_id = task.project_id and other.rank > task.rank),
			(select min(rank) from task as other where task.project_id is null and other.project_id is null and other.rank > task.rank), '') as behind
	from task where id = any($3)`

// Anchors is the query for tasks beside which others are put. Deleted neighbours count, because they can be restored.
func Anchors(into *[]Anchor, by Actor, tasks []uuid.UUID) pg.Statement {
	return pg.Rows(into, anchors, by.Scope(domain.ReadTask), by.Member, tasks) //sqlcheck:allow made once, of constants
}
