package projections

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Projects is the read model of the projects.
var Projects = newNoun(
	newModel("project", domain.ProjectStream, ofKind("project"), (*domain.Project).Apply, func(p domain.Project) uuid.UUID { return p.ID }),
	Sight{Read: domain.ReadProject, Own: ownProject, Project: `project.id`, Gone: `project.deleted_at`, Filter: `and ($7 = '' or project.status = $7)`})

// ownProject is which projects scope own reaches: created by, or led by. Scope project reaches those of which one is a member.
const ownProject = `(project.created_by = $2 or project.lead_id = $2)`

// ListProjects answers with the projects that the actor may see, the newest first; with a status, those that have it.
func (p *Projections) ListProjects(ctx context.Context, by Actor, status string, page Page) ([]domain.Project, Mark, error) {
	return Projects.List(ctx, p, by, page, false, status)
}

// TasksOfProject is the query for whether a project has tasks, deleted ones too, and for the version of its key's stream, which every
// task that comes into it moves.
func TasksOfProject(some *bool, version *int, id uuid.UUID) pg.Statement {
	return pg.Exec(`select exists (select from task where project_id = $1),
		1 + coalesce((select max(number) from task_key where project_key = (select key from project where id = $1)), 0)`, id).Scan(some, version)
}

// KeyTaken is the query for whether a project has, or had, a key.
func KeyTaken(into *bool, key string) pg.Statement {
	return pg.Exec(`select exists (select from project where key = $1)`, key).Scan(into)
}
