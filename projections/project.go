package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Projects is the read model of the projects.
var Projects = newNoun(
	newModel("project", domain.ProjectStream, ofKind("project"), (*domain.Project).Apply, func(p domain.Project) uuid.UUID { return p.ID }),
	Sight{Read: domain.ReadProject, Own: ownProject, Project: `project.id`, Gone: `project.deleted_at`},
	Lists{Filter: ProjectFilter{}, Sorts: []Sorting{{Field: "created_at"}, {Field: "updated_at"}, {Field: "key", By: asText}, {Field: "name", By: byName},
		{Field: "status", Values: domain.ProjectStatuses}}, Search: matchesWords("project")})

// ProjectFilter chooses projects; a zero field chooses all.
type ProjectFilter struct {
	Status  []string    `among:"project.status"`
	Key     []string    `among:"project.key"`
	Lead    IDs         `among:"project.lead_id"`
	Member  IDs         `overlap:"project.member_ids"`
	Creator []uuid.UUID `among:"project.created_by"`
	Since   *time.Time  `where:"project.updated_at >= @"`
}

// ownProject is the condition for scope own: projects created by or led by the member. Scope project reaches the member's projects as well.
const ownProject = `(project.created_by = $2 or project.lead_id = $2)`

// ProjectSpent is a project with the sum of its time entries.
type ProjectSpent struct {
	domain.Project
	SpentMinutes *int `json:"spent_minutes" doc:"Of all time entries of the project; null for a caller who may not read them all, and in the past."`
	SpentCents   *int `json:"spent_cents" doc:"Of EUR, as spent_minutes."`
}

var getProject = `select project.*, spent.minutes as spent_minutes, spent.cents as spent_cents from (` + Projects.get + `) as project
	left join lateral (select coalesce(sum(minutes), 0)::bigint as minutes, coalesce(sum(cents), 0)::bigint as cents
			from time_sum where time_sum.project_id = project.id and time_sum.day is null) as spent
		on $6 = 'all' or $6 = 'project' and project.member_ids @> array[$2::uuid]`

// GetProject answers with a project and the sum of its time entries.
func (p *Projections) GetProject(ctx context.Context, by Actor, id uuid.UUID) (ProjectSpent, Mark, error) {
	//sqlcheck:allow made once, of constants
	return get[ProjectSpent](ctx, p, by.Workspace, Projects.name, getProject, append(Projects.sight.scopes(by), id, false, by.Scope(domain.ReadTimeEntry))...)
}

// ProjectsOfKeys finds the projects with keys, without a check of access: the query that follows checks it.
func (p *Projections) ProjectsOfKeys(ctx context.Context, by Actor, keys []string) (ids []uuid.UUID, err error) {
	_, err = p.Fresh(ctx, by.Workspace, pg.Column(&ids, `select id from project where key = any($1)`, keys))
	return ids, err
}

// InProject is what a project has.
type InProject struct {
	Tasks bool // deleted ones count
	Time  bool // entries that are not deleted
	Keys  int  // the version of the stream of the project's key, in which every task that comes into the project has an event
}

// LoadInProject is the query for InProject.
func LoadInProject(into *InProject, id uuid.UUID) pg.Statement {
	return pg.Exec(`select exists (select from task where project_id = $1), exists (select from time_entry where project_id = $1 and deleted_at is null),
		1 + coalesce((select max(number) from task_key where project_key = (select key from project where id = $1)), 0)`, id).Scan(&into.Tasks, &into.Time, &into.Keys)
}

// KeyTaken is the query for whether a project has or had a key.
func KeyTaken(into *bool, key string) pg.Statement {
	return pg.Exec(`select exists (select from project where key = $1)`, key).Scan(into)
}
