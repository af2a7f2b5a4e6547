package projections

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

var tagsStream, tagOf = inStream(domain.TagsStream, domain.TagOf)

// Tags is the read model of the tags. Scope own reaches the tags that the member made.
var Tags = newNoun(
	newModel("tag", tagsStream, tagOf, (*domain.Tag).Apply, func(t domain.Tag) uuid.UUID { return t.ID }),
	Sight{Read: domain.ReadTag, Own: `tag.created_by = $2`, Gone: `tag.deleted_at`},
	Lists{Sorts: []Sorting{{Field: "created_at"}, {Field: "updated_at"}, {Field: "name", By: byName}}, Search: matchesWords("tag")})

// Tags that were merged or deleted stay in the rows of their tasks. One join finds the present tag of each, because a merge leaves every merged
// tag one step from the tag that remains.
const (
	tagNow = ` tag as old join tag as now on now.id = coalesce(old.merged_into, old.id) and now.deleted_at is null `
	tagAt  = ` tag as old join tag as now on now.id = case when old.deleted_at <= {at} then coalesce(old.merged_into, old.id) else old.id end
		and (now.deleted_at is null or now.deleted_at > {at}) `

	// taskTags gives the tags of a task at the moment {at}, each once, in the order in which they were given.
	taskTags = `case when task.tag_ids = '{}' then '{}' else array(select now.id from unnest(task.tag_ids) with ordinality as given (id, nth), ` + tagAt + `
		where old.id = given.id group by now.id order by min(nth)) end`
)

// TagUse is a tag with the number of its tasks that the caller may see.
type TagUse struct {
	domain.Tag
	TaskCount *int `json:"task_count" doc:"Of the tasks that the caller may see, without deleted ones; null in the past."`
}

var getTag = withUse(Tags.get, "$6")

// withUse adds the number of tasks to a query of tags; scope is the parameter with the scope over tasks.
func withUse(tags, scope string) string {
	return `select tag.*, (select count(*) from task where task.deleted_at is null and ` + Tasks.sight.visible(scope) + `
		and task.tag_ids && array(select old.id from tag as old where old.id = tag.id or old.merged_into = tag.id)) as task_count
		from (` + tags + `) as tag`
}

// GetTag answers with a tag and its use.
func (p *Projections) GetTag(ctx context.Context, by Actor, id uuid.UUID) (TagUse, Mark, error) {
	//sqlcheck:allow made once, of constants
	return get[TagUse](ctx, p, by.Workspace, Tags.name, getTag, append(Tags.sight.scopes(by), id, false, by.Scope(domain.ReadTask))...)
}

// ListTags answers with the tags and their use.
func (p *Projections) ListTags(ctx context.Context, by Actor, page Page) ([]TagUse, Mark, error) {
	return listOf[TagUse](ctx, Tags, p, by, page, nil, func(list, order string, next int) string {
		return withUse(list, fmt.Sprintf("$%d", next)) + " order by " + order
	}, by.Scope(domain.ReadTask))
}

// withMerged gives a filter that takes merged tags for the tag into which they were merged. The tags are read first, so that the list is planned
// for the ids that it contains.
func (p *Projections) withMerged(ctx context.Context, by Actor, f TaskFilter) (TaskFilter, error) {
	if len(f.Tag.Any) == 0 {
		return f, nil
	}
	old := []uuid.UUID{}
	_, err := p.Fresh(ctx, by.Workspace, pg.Column(&old, `select old.id from`+tagNow+`where now.id = any($1)`, f.Tag.Any))
	f.Tag.Any = append([]uuid.UUID{}, old...) // never nil, because a nil filter chooses all
	return f, err
}

// FindTagName is the query for whether a tag other than id has a name, and for the version of the stream of the tags.
func FindTagName(taken *bool, version *int, id uuid.UUID, key string) pg.Statement {
	return pg.Exec(`select (select coalesce(max(version), 0) from tag), exists (select from tag where name_key = $2 and id <> $1 and deleted_at is null)`,
		id, key).Scan(version, taken)
}

// TagCalled is the query for the tag with a name, by the form in which names are compared.
func TagCalled(into *[]uuid.UUID, key string) pg.Statement {
	return pg.Column(into, `select id from tag where name_key = $1 and deleted_at is null`, key)
}

// TagNow is a tag with its present one: see domain.TagsNow.
type TagNow struct{ ID, Now uuid.UUID }

// tagsOf are the tags of the tasks $3.
const tagsOf = `array(select unnest(tag_ids) from task where id = any($3))`

var findTags = `select old.id, now.id as now from` + tagNow + `where old.id = any($4::uuid[] || ` + tagsOf + `)
	and (old.id = any($4) and (select true from tag where tag.id = now.id and ` + Tags.sight.visible("$1") + `) or old.id = any(` + tagsOf + `))`

// FindTags gives the queries for the present ones of some tags, as far as the actor may see them or some tasks have them, and for the version of
// the stream of the tags.
func FindTags(into *[]TagNow, version *int, by Actor, tasks, tags []uuid.UUID) []pg.Statement {
	return []pg.Statement{
		pg.Exec(`select coalesce(max(version), 0) from tag`).Scan(version),
		pg.Rows(into, findTags, by.Scope(domain.ReadTag), by.Member, tasks, tags), //sqlcheck:allow made once, of constants
	}
}

// MergedInto is the query for the tags that were merged into a tag.
func MergedInto(into *[]uuid.UUID, tag uuid.UUID) pg.Statement {
	return pg.Column(into, `select id from tag where merged_into = $1 order by id`, tag)
}
