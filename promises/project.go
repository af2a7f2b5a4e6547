package promises

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name:  "project",
	thing: func(t tester, x *tenant) uuid.UUID { return x.newProject(t, object{"name": x.private()}).ID },
	bodies: map[string]func(x *tenant) object{
		"create-project": func(x *tenant) object {
			return object{"key": newKey(), "name": "p", "description": "d", "status": "active", "lead_id": x.things["member"],
				"budget_minutes": 600, "budget_cents": 100_000, "hourly_rate_cents": 9_500}
		},
		"update-project": func(x *tenant) object {
			return object{"name": uuid.NewString(), "description": "d", "status": "active", "lead_id": x.things["member"],
				"budget_minutes": 60, "budget_cents": nil, "hourly_rate_cents": 0}
		},
	},
	rule: judgeProject,
	end: func(o *oracle) error {
		for id, p := range the[uuid.UUID, judgedProject](o) {
			if of := the[string, uuid.UUID](o)[p.key]; of == nil || *of != id {
				return fmt.Errorf("project %s never took its key %s", id, p.key)
			}
		}
		return nil
	},
	stream: func(e domain.Event, id uuid.UUID) string {
		if _, ok := e.(domain.ProjectKeyTaken); ok {
			return domain.KeyStream("WEB")
		}
		return domain.ProjectStream(id)
	},
	values: map[string][]string{"key": {"WEB", "APP"}, "status": domain.ProjectStatuses},
	races: map[string]race{
		"a task in a project that is archived": func(t tester, x *tenant) (one, other request) {
			p := x.newProject(t)
			return request{"PATCH", p.path(), object{"status": "archived"}}, request{"POST", "/api/tasks", object{"title": "late", "project_id": p.ID}}
		},
		"time of a project that is deleted": func(t tester, x *tenant) (one, other request) {
			p := x.newProject(t)
			return request{"DELETE", p.path(), nil}, request{"POST", "/api/time-entries", object{"project_id": p.ID, "start": someHour(), "minutes": 1}}
		},
		"time that goes to a project that is deleted": func(t tester, x *tenant) (one, other request) {
			p := x.newProject(t)
			return request{"DELETE", p.path(), nil}, request{"PATCH", timePath(x.newTime(t)), object{"project_id": p.ID}}
		},
		"a task in a project that is deleted": func(t tester, x *tenant) (one, other request) {
			p := x.newProject(t)
			return request{"DELETE", p.path(), nil}, request{"POST", "/api/tasks", object{"title": "late", "project_id": p.ID}}
		},
	},
})

// apiProject is a project as a client reads it.
type apiProject struct{ domain.Project }

func (p apiProject) path(more ...any) string {
	path := "/api/projects/" + p.ID.String()
	for _, part := range more {
		path += fmt.Sprint("/", part)
	}
	return path
}

// newKey is a key that no other test has.
func newKey() string {
	key := make([]byte, 10)
	for i := range key {
		key[i] = byte('A' + rand.N(26))
	}
	return string(key)
}

// newProject makes a project with some fields.
func (c *client) newProject(t tester, fields ...object) apiProject {
	t.Helper()
	body := object{"key": newKey(), "name": "p"}
	for _, more := range fields {
		for name, value := range more {
			body[name] = value
		}
	}
	return decode[apiProject](t, c.call(t, "POST", "/api/projects", body).want(t, 201))
}

type judgedProject struct {
	by, lead          uuid.UUID
	key               string
	archived, deleted bool
	members           []uuid.UUID
}

var validKey = regexp.MustCompile(`^[A-Z]{2,10}$`)

func judgeProject(o *oracle, f fact) error {
	id, actor, projects, keys := f.id, f.actor, the[uuid.UUID, judgedProject](o), the[string, uuid.UUID](o)
	if e, ok := f.event.(domain.ProjectKeyTaken); ok { // in the stream of the key
		key, _ := strings.CutPrefix(f.Stream, "key-")
		p, taken := projects[e.ProjectID], keys[key] != nil
		keys[key] = &e.ProjectID
		return when(f.Version != 1 || taken || p == nil || p.key != key, "the key is not the project's to take")
	}
	p := projects[id]
	if e, ok := f.event.(domain.ProjectCreated); ok {
		_, taken := keys[e.Key]
		projects[id] = &judgedProject{by: actor, key: e.Key, archived: e.Status == "archived"}
		return firstError(o.may(actor, domain.CreateProject, true), when(p != nil, "it is there"), when(taken, "the key was taken"),
			when(!validKey.MatchString(e.Key), "that is no key"), o.lead(id, e.LeadID))
	}
	if p == nil || p.deleted {
		return fmt.Errorf("there is no such project")
	}
	own := p.by == actor || p.lead == actor
	update := o.may(actor, domain.UpdateProject, own, &id)
	switch e := f.event.(type) {
	case domain.ProjectUpdated:
		if e.LeadID.Set {
			update = firstError(update, o.lead(id, e.LeadID.Value))
		}
		return update
	case domain.ProjectArchived, domain.ProjectReopened:
		_, archiving := e.(domain.ProjectArchived)
		err := firstError(update, when(p.archived == archiving, "it is so already"))
		p.archived = archiving
		return err
	case domain.ProjectMemberAdded:
		return firstError(update, o.people.can(e.MemberID), add(&p.members, e.MemberID))
	case domain.ProjectMemberRemoved:
		return firstError(update, remove(&p.members, e.MemberID))
	case domain.ProjectDeleted:
		p.deleted = true
		for _, k := range the[uuid.UUID, judgedTask](o) {
			if k.project != nil && *k.project == id {
				return fmt.Errorf("there are tasks in it")
			}
		}
		for _, k := range the[uuid.UUID, judgedTime](o) {
			if k.project != nil && *k.project == id && !k.deleted {
				return fmt.Errorf("there is time of it")
			}
		}
		return o.may(actor, domain.DeleteProject, own, &id)
	}
	return errUnknown(f)
}

// lead makes somebody, or nobody, the lead of a project.
func (o *oracle) lead(id uuid.UUID, lead *uuid.UUID) error {
	if lead == nil {
		the[uuid.UUID, judgedProject](o)[id].lead = uuid.Nil
		return nil
	}
	the[uuid.UUID, judgedProject](o)[id].lead = *lead
	return o.people.can(*lead)
}
