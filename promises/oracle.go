package promises

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
)

// oracle reads a whole log and says of each event whether it was right to accept it, by what the log holds before
// it and by nothing else: who did it, with which role, to what. It is written from the promises, without the
// domain's own rules; so what several processes decided at once must come out as if one had, one by one.
type oracle struct {
	people   roster
	projects map[uuid.UUID]*oracleProject
	keys     map[string]uuid.UUID // whose each is
	tasks    map[uuid.UUID]*oracleTask
	comments map[uuid.UUID]*oracleComment
	tags     map[uuid.UUID]*oracleTag
}

type oracleTask struct {
	by                 uuid.UUID
	deleted            bool
	status             string
	parent, project    *uuid.UUID
	unnumbered         bool // it came into a project and has no key there yet
	assignees, viewers []uuid.UUID
	tags               []uuid.UUID
}

type oracleTag struct {
	by   uuid.UUID
	key  string
	gone bool
}

type oracleComment struct {
	by, task uuid.UUID
	deleted  bool
}

// judge reads the client's log, which must be right from beginning to end.
func (c *client) judge(t tester) {
	t.Helper()
	o := &oracle{people: roster{}, projects: map[uuid.UUID]*oracleProject{}, keys: map[string]uuid.UUID{}, tasks: map[uuid.UUID]*oracleTask{}, comments: map[uuid.UUID]*oracleComment{},
		tags: map[uuid.UUID]*oracleTag{}}
	for _, r := range c.log(t) {
		if err := o.accept(r); err != nil {
			t.Errorf("position %d, %s in %s by %v: %v", r.Position, r.Type, r.Stream, r.Actor, err)
		}
	}
	for id, k := range o.tasks {
		if k.unnumbered {
			t.Errorf("task %s has no key in its project", id)
		}
	}
	for id, p := range o.projects {
		if o.keys[p.key] != id {
			t.Errorf("project %s never took its key %s", id, p.key)
		}
	}
}

func (o *oracle) accept(r eventstore.Record) error {
	event := must(domain.Decode(r.Type, r.Data))
	var actor uuid.UUID
	if r.Actor != nil {
		actor = *r.Actor
	}
	if id, ok := domain.StreamID("project", r.Stream); ok {
		return o.project(id, actor, event)
	}
	if key, ok := strings.CutPrefix(r.Stream, "key-"); ok {
		return o.key(key, r.Version, event)
	}
	if id, ok := domain.StreamID("task", r.Stream); ok {
		return o.task(id, actor, event)
	}
	if id, ok := domain.StreamID("comment", r.Stream); ok {
		return o.comment(id, actor, event)
	}
	if r.Stream == domain.TagsStream {
		return o.tag(actor, event)
	}
	if r.Stream != domain.RosterStream {
		return nil
	}
	if _, ok := event.(domain.PolicyTwoFactorRequired); ok {
		return o.may(actor, domain.UpdateWorkspace, true)
	}
	err := o.member(actor, event)
	o.people.apply(event)
	if err == nil && o.people.activeAdmins() == 0 {
		err = fmt.Errorf("no active admin is left")
	}
	return err
}

// may tells whether the actor's role, at this place in the log, grants p on what is, or is not, their own.
func (o *oracle) may(actor uuid.UUID, p domain.Permission, own bool) error {
	who := o.people[actor]
	if who == nil || who.status != "active" {
		return fmt.Errorf("the actor is no active member")
	}
	role, _ := domain.BuiltInRole(who.role)
	if scope := role.Grants.Scope(p); scope != domain.All && (scope != domain.Own || !own) {
		return fmt.Errorf("%s does not grant %s", who.role, p)
	}
	return nil
}

func (o *oracle) task(id, actor uuid.UUID, event domain.Event) error {
	k := o.tasks[id]
	if created, ok := event.(domain.TaskCreated); ok {
		o.tasks[id] = &oracleTask{by: actor, status: created.Status, assignees: created.AssigneeIDs, tags: created.TagIDs}
		return first(o.may(actor, domain.CreateTask, true), when(k != nil, "it is there"), o.people.can(created.AssigneeIDs...), o.tagged(created.TagIDs...), o.put(id, created.ParentID),
			o.enter(id, created.ProjectID))
	}
	if k == nil {
		return fmt.Errorf("there is no such task")
	}
	own := k.by == actor || slices.Contains(k.assignees, actor) || slices.Contains(k.viewers, actor)
	update := first(o.may(actor, domain.UpdateTask, own), when(k.deleted, "it is deleted"))
	switch e := event.(type) {
	case domain.TaskUpdated:
		if e.Status != nil {
			k.status = *e.Status
		}
		if e.ParentID.Set {
			update = first(update, o.put(id, e.ParentID.Value))
		}
		if e.ProjectID.Set {
			update = first(update, o.enter(id, e.ProjectID.Value))
		}
		return update
	case domain.TaskCompleted:
		err := first(update, when(k.status == "done", "it is done already"))
		k.status = "done"
		return err
	case domain.TaskReopened:
		err := first(update, when(k.status != "done", "it is not done"))
		k.status = e.Status
		return err
	case domain.TaskAssigned:
		return first(update, o.people.can(e.MemberID), add(&k.assignees, e.MemberID))
	case domain.TaskUnassigned:
		return first(update, remove(&k.assignees, e.MemberID))
	case domain.TaskViewerAdded:
		return first(update, o.people.can(e.MemberID), add(&k.viewers, e.MemberID))
	case domain.TaskViewerRemoved:
		return first(update, remove(&k.viewers, e.MemberID))
	case domain.TaskTagged:
		return first(update, o.tagged(e.TagID), add(&k.tags, e.TagID))
	case domain.TaskUntagged:
		return first(update, remove(&k.tags, e.TagID))
	case domain.TaskDeleted, domain.TaskRestored:
		_, deleting := e.(domain.TaskDeleted)
		err := first(o.may(actor, domain.DeleteTask, own), when(k.deleted == deleting, "it is so already"))
		k.deleted = deleting
		return err
	}
	return fmt.Errorf("the oracle does not know it")
}

// put gives a task a parent, which must be there, not deleted, and not below the task.
func (o *oracle) put(id uuid.UUID, parent *uuid.UUID) error {
	o.tasks[id].parent = parent
	if parent == nil {
		return nil
	}
	if p := o.tasks[*parent]; p == nil || p.deleted {
		return fmt.Errorf("the parent %s is not there", parent)
	}
	for at, steps := parent, 0; at != nil && steps < 1000; at, steps = o.tasks[*at].parent, steps+1 {
		if *at == id {
			return fmt.Errorf("a circle of parents")
		}
	}
	return nil
}

func (o *oracle) comment(id, actor uuid.UUID, event domain.Event) error {
	c := o.comments[id]
	if e, ok := event.(domain.CommentCreated); ok {
		o.comments[id] = &oracleComment{by: actor, task: e.TaskID}
		return first(o.may(actor, domain.CreateComment, true), o.there(e.TaskID), when(c != nil, "it is there"))
	}
	if c == nil || c.deleted {
		return fmt.Errorf("there is no such comment")
	}
	p := domain.UpdateComment
	if _, deleting := event.(domain.CommentDeleted); deleting {
		c.deleted, p = true, domain.DeleteComment
	}
	return first(o.may(actor, p, c.by == actor), o.there(c.task))
}

func (o *oracle) tag(actor uuid.UUID, event domain.Event) error {
	id := event.(interface{ Tag() uuid.UUID }).Tag()
	k := o.tags[id]
	if e, ok := event.(domain.TagCreated); ok {
		err := first(o.may(actor, domain.CreateTag, true), when(k != nil, "it is there"), o.free(id, e.NameKey))
		o.tags[id] = &oracleTag{by: actor, key: e.NameKey}
		return err
	}
	merged, merging := event.(domain.TagMerged)
	if k == nil || k.gone && !merging { // one that was merged goes on with the one that it was merged into
		return fmt.Errorf("there is no such tag")
	}
	switch e := event.(type) {
	case domain.TagRenamed:
		k.key = e.NameKey
		return first(o.may(actor, domain.UpdateTag, k.by == actor), o.free(id, e.NameKey))
	case domain.TagRecoloured:
		return o.may(actor, domain.UpdateTag, k.by == actor)
	case domain.TagMerged:
		err := first(when(merged.IntoID == id, "into itself"), o.tagged(merged.IntoID))
		if !k.gone {
			err = first(err, o.may(actor, domain.DeleteTag, k.by == actor))
		}
		k.gone = true
		return err
	case domain.TagDeleted:
		k.gone = true
		return o.may(actor, domain.DeleteTag, k.by == actor)
	}
	return fmt.Errorf("the oracle does not know it")
}

// free tells whether no other tag has a name.
func (o *oracle) free(id uuid.UUID, key string) error {
	for other, k := range o.tags {
		if other != id && !k.gone && k.key == key {
			return fmt.Errorf("the name %q is taken", key)
		}
	}
	return nil
}

// tagged tells whether tags are there.
func (o *oracle) tagged(ids ...uuid.UUID) error {
	for _, id := range ids {
		if k := o.tags[id]; k == nil || k.gone {
			return fmt.Errorf("the tag %s is not there", id)
		}
	}
	return nil
}

func (o *oracle) there(task uuid.UUID) error {
	k := o.tasks[task]
	return when(k == nil || k.deleted, "its task is not there")
}

func (o *oracle) member(actor uuid.UUID, event domain.Event) error {
	subject := event.(interface{ Member() uuid.UUID }).Member()
	who := o.people[subject]
	admin := o.may(actor, domain.UpdateMember, true)
	switch e := event.(type) {
	case domain.MemberAdded:
		return when(len(o.people) > 0, "there are members already")
	case domain.MemberInvited:
		return first(o.may(actor, domain.CreateMember, true), o.covers(actor, e.Role), when(who != nil, "it is there"))
	case domain.MemberJoined:
		return when(actor != subject || who == nil || who.status != "invited", "nobody was invited")
	case domain.MemberRoleChanged:
		return first(admin, o.covers(actor, e.Role), when(who.status == "removed" || who.role == e.Role, "it is so already"))
	case domain.MemberDeactivated:
		return first(admin, when(who.status != "active", "the member is not active"))
	case domain.MemberReactivated:
		return first(admin, when(who.status != "deactivated", "the member is not deactivated"))
	case domain.MemberRemoved:
		return first(o.may(actor, domain.DeleteMember, true), when(who.status == "removed", "it is so already"))
	}
	return nil
}

// covers tells whether the actor's role grants all that another one does.
func (o *oracle) covers(actor uuid.UUID, role string) error {
	for _, g := range domain.GrantsOf(role) {
		if err := o.may(actor, domain.Permission{Resource: g.Resource, Action: g.Action}, g.Scope == domain.Own); err != nil {
			return err
		}
	}
	return nil
}

// roster is who has which role and status, by the log alone.
type roster map[uuid.UUID]*struct{ role, status string }

func (r roster) apply(e domain.Event) {
	switch e := e.(type) {
	case domain.MemberAdded:
		r[e.MemberID] = &struct{ role, status string }{e.Role, "active"}
	case domain.MemberInvited:
		r[e.MemberID] = &struct{ role, status string }{e.Role, "invited"}
	case domain.MemberJoined:
		r[e.MemberID].status = "active"
	case domain.MemberReactivated:
		r[e.MemberID].status = "active"
	case domain.MemberRoleChanged:
		r[e.MemberID].role = e.Role
	case domain.MemberDeactivated:
		r[e.MemberID].status = "deactivated"
	case domain.MemberRemoved:
		r[e.MemberID].status = "removed"
	}
}

func (r roster) activeAdmins() (n int) {
	for _, m := range r {
		if m.role == "admin" && m.status == "active" {
			n++
		}
	}
	return n
}

// can tells whether all these can be given work.
func (r roster) can(ids ...uuid.UUID) error {
	for _, id := range ids {
		if who := r[id]; who == nil || who.status != "active" && who.status != "invited" {
			return fmt.Errorf("%s can have no work", id)
		}
	}
	return nil
}

func add(ids *[]uuid.UUID, id uuid.UUID) error {
	defer func() { *ids = append(*ids, id) }()
	return when(slices.Contains(*ids, id), "it is so already")
}

func remove(ids *[]uuid.UUID, id uuid.UUID) error {
	i := slices.Index(*ids, id)
	if i < 0 {
		return fmt.Errorf("it is so already")
	}
	*ids = slices.Delete(slices.Clone(*ids), i, i+1)
	return nil
}

func when(wrong bool, why string) error {
	if wrong {
		return fmt.Errorf("%s", why)
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
