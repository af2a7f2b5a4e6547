package projections

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Whatever happened, in whatever order, and however it is cut into pages: the rows are what Apply alone makes of the log.
// So is what comes of a row that is read and of the records behind it: what commands decide on.
func TestRowsAreFolds(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	// Provisioning is most of the cost, so the histories of all runs go on in three workspaces.
	var worlds []*world
	for range 3 {
		by := p.found(t)
		worlds = append(worlds, &world{by: by, workspace: 1, roster: 1, members: []uuid.UUID{by.Member}})
	}
	rapid.Check(t, func(r *rapid.T) {
		h := worlds[rapid.IntRange(0, len(worlds)-1).Draw(r, "workspace")]
		writes := h.happen(r, rapid.IntRange(1, 30).Draw(r, "events"))
		for _, w := range writes {
			if _, err := p.store.Append(context.Background(), h.by.Workspace, eventstore.Append{Actor: h.by.Member, Writes: []eventstore.Write{w}}); err != nil {
				r.Fatal(err)
			}
		}
		size := rapid.IntRange(1, 12).Draw(r, "size of a page")
		for {
			var done step
			if err := p.db.In(context.Background(), h.by.Workspace, func(tx *pg.Tx) (err error) {
				done, err = p.foldPage(context.Background(), tx, size, time.Minute)
				return err
			}); err != nil {
				r.Fatal(err)
			}
			if done.events < size {
				break
			}
		}
		if d := p.differences(r, h.by.Workspace); d != "" {
			r.Fatal(d)
		}
	})
	for _, h := range worlds {
		if drifts := p.drift(t, h.by.Workspace); drifts != nil {
			t.Errorf("a rebuild would give other rows: %v", drifts)
		}
	}
}

// world is what there is in a workspace, as far as an event must know to be possible.
type world struct {
	by        Actor
	workspace int // version of its stream
	roster    int
	members   []uuid.UUID
	projects  []thing
	tasks     []thing
	comments  []thing
	tags      []uuid.UUID
	ofTags    int // version of their stream
}

type thing struct {
	id      uuid.UUID
	version int
}

// text is anything that the domain accepts: no NUL, valid UTF-8.
func text(r *rapid.T, name string) string {
	odd := rapid.SampledFrom([]string{"", "null", `\u0000`, `{"a":[1]}`, "'; drop table task; --", "\u2028<&>\\\"", "\x01\x1f\x7f", "👩‍👩‍👧", "\ufffe", "\U0010ffff", "NaN", "{}", "{NULL}", " ", "\r\n\t"})
	return rapid.OneOf(odd, rapid.StringOfN(rapid.Rune().Filter(func(c rune) bool { return c != 0 }), 1, 20, -1)).Draw(r, name)
}

func pick[T any](r *rapid.T, name string, from []T) T { return rapid.SampledFrom(from).Draw(r, name) }

func maybe[T any](r *rapid.T, name string, value func() T) *T {
	if !rapid.Bool().Draw(r, name+"?") {
		return nil
	}
	v := value()
	return &v
}

func optional[T any](r *rapid.T, name string, value func() T) (o domain.Optional[T]) {
	if rapid.Bool().Draw(r, name+" set?") {
		o.Set, o.Value = true, maybe(r, name, value)
	}
	return o
}

func date(r *rapid.T) domain.Date {
	return pick(r, "date", []domain.Date{"2026-02-28", "2024-02-29", "1970-01-01", "0001-01-01", "9999-12-31", "2026-10-25"})
}

func minutes(r *rapid.T) int { return rapid.IntRange(0, domain.MaxEstimate).Draw(r, "minutes") }

func (h *world) happen(r *rapid.T, n int) (writes []eventstore.Write) {
	write := func(stream string, expected int, e domain.Event) {
		writes = append(writes, eventstore.Write{Stream: stream, Expected: expected, Events: []eventstore.Event{{Type: domain.TypeOf(e), Data: encode(r, e)}}})
	}
	for range n {
		switch kind := rapid.IntRange(0, 13).Draw(r, "kind"); {
		case kind == 0:
			e := pick(r, "event", []domain.Event{domain.WorkspaceRenamed{Name: text(r, "name")}, domain.WorkspacePlanChanged{Plan: pick(r, "plan", domain.Plans)}})
			write(domain.WorkspaceStream(h.by.Workspace.ID), h.workspace, e)
			h.workspace++
		case kind <= 2:
			write(domain.RosterStream, h.roster, h.member(r))
			h.roster++
		case kind >= 12:
			write(domain.TagsStream, h.ofTags, h.tag(r))
			h.ofTags++
		case kind >= 10 && (len(h.projects) == 0 || rapid.IntRange(0, 3).Draw(r, "new project") == 0):
			p := thing{uuid.Must(uuid.NewV7()), 1}
			h.projects = append(h.projects, p)
			write(domain.ProjectStream(p.id), 0, domain.ProjectCreated{Key: "K", Name: text(r, "name"), Description: text(r, "description"),
				Status: pick(r, "status", domain.ProjectStatuses), LeadID: maybe(r, "lead", uuid.New), BudgetMinutes: maybe(r, "budget", func() int { return minutes(r) }),
				BudgetCents: maybe(r, "cents", func() int { return domain.MaxCents }), HourlyRateCents: maybe(r, "rate", func() int { return minutes(r) })})
		case kind >= 10:
			p := &h.projects[rapid.IntRange(0, len(h.projects)-1).Draw(r, "project")]
			write(domain.ProjectStream(p.id), p.version, h.project(r))
			p.version++
		case kind <= 4 || len(h.tasks) == 0:
			t := thing{uuid.Must(uuid.NewV7()), 1}
			h.tasks = append(h.tasks, t)
			write(domain.TaskStream(t.id), 0, domain.TaskCreated{Title: text(r, "title"), Description: text(r, "description"),
				Status: pick(r, "status", domain.TaskStatuses), Priority: pick(r, "priority", domain.TaskPriorities),
				StartOn: maybe(r, "start", func() domain.Date { return date(r) }), DueOn: maybe(r, "due", func() domain.Date { return date(r) }),
				ProjectID: maybe(r, "project", uuid.New), ParentID: maybe(r, "parent", uuid.New), AssigneeIDs: rapid.SliceOfN(rapid.SampledFrom(h.members), 0, 3).Draw(r, "assignees"),
				TagIDs: rapid.SliceOfN(rapid.SampledFrom(h.someTags()), 0, 3).Draw(r, "tags"), EstimateMinutes: maybe(r, "estimate", func() int { return minutes(r) })})
		case kind <= 7:
			t := &h.tasks[rapid.IntRange(0, len(h.tasks)-1).Draw(r, "task")]
			write(domain.TaskStream(t.id), t.version, h.task(r))
			t.version++
			if rapid.IntRange(0, 2).Draw(r, "number") == 0 {
				write(domain.KeyStream(pick(r, "key", []string{"WEB", "APP"})), eventstore.Any, domain.TaskNumbered{TaskID: t.id})
			}
		default:
			if len(h.comments) == 0 || rapid.Bool().Draw(r, "new comment") {
				c := thing{uuid.Must(uuid.NewV7()), 1}
				h.comments = append(h.comments, c)
				write(domain.CommentStream(c.id), 0, domain.CommentCreated{TaskID: pick(r, "task", h.tasks).id, Body: text(r, "body")})
				continue
			}
			c := &h.comments[rapid.IntRange(0, len(h.comments)-1).Draw(r, "comment")]
			write(domain.CommentStream(c.id), c.version, pick(r, "event", []domain.Event{domain.CommentUpdated{Body: text(r, "body")}, domain.CommentDeleted{}}))
			c.version++
		}
	}
	return writes
}

func (h *world) member(r *rapid.T) domain.Event {
	role := pick(r, "role", domain.BuiltInRoles).Name
	if rapid.IntRange(0, 7).Draw(r, "policy") == 0 { // of the roster too
		return domain.PolicyTwoFactorRequired{Roles: rapid.SliceOfN(rapid.SampledFrom([]string{"all", "admin", "a,b", "{}", "null"}), 0, 3).Draw(r, "roles")}
	}
	if rapid.IntRange(0, 2).Draw(r, "invite") == 0 {
		id := uuid.Must(uuid.NewV7())
		h.members = append(h.members, id)
		return domain.MemberInvited{MemberID: id, Email: domain.Personal(text(r, "email")), FullName: domain.Personal(text(r, "full name")), Role: role}
	}
	id := pick(r, "member", h.members)
	return pick(r, "event", []domain.Event{domain.MemberJoined{MemberID: id}, domain.MemberRoleChanged{MemberID: id, Role: role},
		domain.MemberDeactivated{MemberID: id}, domain.MemberReactivated{MemberID: id}, domain.MemberRemoved{MemberID: id}})
}

func (h *world) project(r *rapid.T) domain.Event {
	member := pick(r, "member", h.members)
	return pick(r, "event", []domain.Event{domain.ProjectArchived{}, domain.ProjectReopened{}, domain.ProjectDeleted{},
		domain.ProjectMemberAdded{MemberID: member}, domain.ProjectMemberRemoved{MemberID: member},
		domain.ProjectUpdated{Name: maybe(r, "name", func() string { return text(r, "name") }), Description: maybe(r, "description", func() string { return text(r, "description") }),
			LeadID: optional(r, "lead", uuid.New), BudgetMinutes: optional(r, "budget", func() int { return minutes(r) }),
			BudgetCents: optional(r, "cents", func() int { return domain.MaxCents }), HourlyRateCents: optional(r, "rate", func() int { return minutes(r) })}})
}

// someTags are the tags, and one that there is not.
func (h *world) someTags() []uuid.UUID { return append(h.tags, uuid.Max) }

func (h *world) tag(r *rapid.T) domain.Event {
	name := domain.TagName{Name: text(r, "name"), NameKey: text(r, "key")}
	colour := maybe(r, "colour", func() string { return pick(r, "colour", []string{"#000000", "#1f6feb"}) })
	if h.ofTags == 0 || rapid.IntRange(0, 2).Draw(r, "new tag") == 0 {
		h.tags = append(h.tags, uuid.Must(uuid.NewV7()))
		return domain.TagCreated{TagID: h.tags[len(h.tags)-1], TagName: name, Colour: colour}
	}
	id := pick(r, "tag", h.tags)
	return pick(r, "event", []domain.Event{domain.TagRenamed{TagID: id, TagName: name}, domain.TagRecoloured{TagID: id, Colour: colour},
		domain.TagDeleted{TagID: id}, domain.TagMerged{TagID: id, IntoID: pick(r, "into", h.tags)}})
}

func (h *world) task(r *rapid.T) domain.Event {
	member := pick(r, "member", h.members)
	switch rapid.IntRange(0, 10).Draw(r, "change") {
	case 0:
		return domain.TaskCompleted{}
	case 1:
		return domain.TaskReopened{Status: "open"}
	case 2:
		return domain.TaskAssigned{MemberID: member}
	case 3:
		return domain.TaskUnassigned{MemberID: member}
	case 4:
		return domain.TaskViewerAdded{MemberID: member}
	case 5:
		return domain.TaskViewerRemoved{MemberID: member}
	case 6:
		return domain.TaskDeleted{}
	case 7:
		return domain.TaskRestored{}
	case 8:
		return domain.TaskTagged{TagID: pick(r, "tag", h.someTags())}
	case 9:
		return domain.TaskUntagged{TagID: pick(r, "tag", h.someTags())}
	default:
		return domain.TaskUpdated{Title: maybe(r, "title", func() string { return text(r, "title") }), Description: maybe(r, "description", func() string { return text(r, "description") }),
			Status: maybe(r, "status", func() string { return pick(r, "status", domain.TaskStatuses) }), Priority: maybe(r, "priority", func() string { return pick(r, "priority", domain.TaskPriorities) }),
			StartOn: optional(r, "start", func() domain.Date { return date(r) }), DueOn: optional(r, "due", func() domain.Date { return date(r) }),
			ProjectID: optional(r, "project", uuid.New), ParentID: optional(r, "parent", uuid.New), EstimateMinutes: optional(r, "estimate", func() int { return minutes(r) })}
	}
}

// What one moment was is what there was then: the fold of a prefix of a thing's history, however it went on.
func TestTaskAsOf(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	id := p.task(t, by, "first")
	for i := range 5 {
		title := fmt.Sprint("title ", i)
		p.append(t, by.Workspace, by.Member, domain.TaskStream(id), i+1, domain.TaskUpdated{Title: &title})
	}
	records := p.log(t, by.Workspace)[2:]
	for i, r := range records {
		task, _, err := p.TaskAsOf(minute(t), by, id, r.At)
		last := i
		for last+1 < len(records) && !records[last+1].At.After(r.At) { // several may be of one microsecond
			last++
		}
		if err != nil || task.Version != last+1 || task.Title != Tasks.Fold(records[:last+1]).Title {
			t.Errorf("at %s: %+v, %v, want version %d", r.At, task, err, last+1)
		}
	}
	if _, _, err := p.TaskAsOf(minute(t), by, id, records[0].At.Add(-1000)); err == nil {
		t.Error("it was there before it began")
	}
}
