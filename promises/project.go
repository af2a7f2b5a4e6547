package promises

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

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

type oracleProject struct {
	by, lead          uuid.UUID
	key               string
	archived, deleted bool
	members           []uuid.UUID
}

var validKey = regexp.MustCompile(`^[A-Z]{2,10}$`)

// project says whether an event of a project was right to accept.
func (o *oracle) project(id, actor uuid.UUID, event domain.Event) error {
	p := o.projects[id]
	if e, ok := event.(domain.ProjectCreated); ok {
		_, taken := o.keys[e.Key]
		o.projects[id] = &oracleProject{by: actor, key: e.Key, archived: e.Status == "archived"}
		return first(o.may(actor, domain.CreateProject, true), when(p != nil, "it is there"), when(taken, "the key was taken"),
			when(!validKey.MatchString(e.Key), "that is no key"), o.lead(id, e.LeadID))
	}
	if p == nil || p.deleted {
		return fmt.Errorf("there is no such project")
	}
	own := p.by == actor || p.lead == actor || slices.Contains(p.members, actor)
	update := o.may(actor, domain.UpdateProject, own)
	switch e := event.(type) {
	case domain.ProjectUpdated:
		if e.LeadID.Set {
			update = first(update, o.lead(id, e.LeadID.Value))
		}
		return update
	case domain.ProjectArchived, domain.ProjectReopened:
		_, archiving := e.(domain.ProjectArchived)
		err := first(update, when(p.archived == archiving, "it is so already"))
		p.archived = archiving
		return err
	case domain.ProjectMemberAdded:
		return first(update, o.people.can(e.MemberID), add(&p.members, e.MemberID))
	case domain.ProjectMemberRemoved:
		return first(update, remove(&p.members, e.MemberID))
	case domain.ProjectDeleted:
		p.deleted = true
		for _, k := range o.tasks {
			if k.project != nil && *k.project == id {
				return fmt.Errorf("there are tasks in it")
			}
		}
		return o.may(actor, domain.DeleteProject, own)
	}
	return fmt.Errorf("the oracle does not know it")
}

// lead makes somebody, or nobody, the lead of a project.
func (o *oracle) lead(id uuid.UUID, lead *uuid.UUID) error {
	if lead == nil {
		o.projects[id].lead = uuid.Nil
		return nil
	}
	o.projects[id].lead = *lead
	return o.people.can(*lead)
}

// enter brings a task into a project, which must be there and take new tasks, or out of all.
func (o *oracle) enter(id uuid.UUID, project *uuid.UUID) error {
	k := o.tasks[id]
	if project == nil {
		k.project = nil
		return nil
	}
	same := k.project != nil && *k.project == *project
	k.project, k.unnumbered = project, true
	p := o.projects[*project]
	return first(when(same, "it is there already"), when(p == nil || p.deleted, "there is no such project"), when(p != nil && p.archived, "the project is archived"))
}

// key says whether an event in the stream of a key was right to accept: the first takes the key for a project that has it, all others
// give a number to a task that just came into the project.
func (o *oracle) key(key string, version int, event domain.Event) error {
	if e, ok := event.(domain.ProjectKeyTaken); ok {
		p := o.projects[e.ProjectID]
		_, taken := o.keys[key]
		o.keys[key] = e.ProjectID
		return when(version != 1 || taken || p == nil || p.key != key, "the key is not the project's to take")
	}
	if e, ok := event.(domain.TaskNumbered); ok {
		k := o.tasks[e.TaskID]
		if k == nil || !k.unnumbered || *k.project != o.keys[key] {
			return fmt.Errorf("no task waits for a key in that project")
		}
		k.unnumbered = false
		return nil
	}
	return fmt.Errorf("the oracle does not know it")
}
