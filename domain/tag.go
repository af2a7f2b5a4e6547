package domain

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// TagsStream is the one stream of a workspace's tags. One stream keeps two commands from taking the same name.
const TagsStream = "tags"

// Limits of tags.
const (
	MaxTag    = 100 // code points in a name
	MaxTags   = 100 // on a task
	MaxMerged = 500 // into a tag that is merged into another one
)

// Tag is a word by which tasks are found. A tag that was merged into another one is deleted, and its tasks have the other one.
type Tag struct {
	ID         uuid.UUID  `json:"id"`
	Name       string     `json:"name"`
	NameKey    string     `json:"name_key" doc:"The name as it is compared: no two tags have the same."`
	Colour     *string    `json:"colour" doc:"#rrggbb, or null."`
	CreatedBy  uuid.UUID  `json:"created_by"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
	DeletedAt  *time.Time `json:"deleted_at"`
	MergedInto *uuid.UUID `json:"merged_into"`
	Version    int        `json:"version"` // of the stream of all tags, at the tag's last change
	Position   int64      `json:"position"`
}

// The events of the tags.
type (
	TagCreated struct {
		TagID uuid.UUID `json:"tag_id"`
		UniqueName
		Colour *string `json:"colour,omitempty"`
	}
	TagRenamed struct {
		TagID uuid.UUID `json:"tag_id"`
		UniqueName
	}
	TagRecoloured struct {
		TagID  uuid.UUID `json:"tag_id"`
		Colour *string   `json:"colour"`
	}
	TagDeleted struct {
		TagID uuid.UUID `json:"tag_id"`
	}
	TagMerged struct {
		TagID  uuid.UUID `json:"tag_id"` // the deleted one
		IntoID uuid.UUID `json:"into_id"`
	}
)

// Tag gives the id of the tag that the event is about.
func (e TagCreated) Tag() uuid.UUID    { return e.TagID }
func (e TagRenamed) Tag() uuid.UUID    { return e.TagID }
func (e TagRecoloured) Tag() uuid.UUID { return e.TagID }
func (e TagDeleted) Tag() uuid.UUID    { return e.TagID }
func (e TagMerged) Tag() uuid.UUID     { return e.TagID }

func init() {
	register[TagCreated]("tag.created")
	register[TagRenamed]("tag.renamed")
	register[TagRecoloured]("tag.recoloured")
	register[TagDeleted]("tag.deleted")
	register[TagMerged]("tag.merged")
}

// TagOf gives the id of the tag that a record changes.
func TagOf(r Record) (uuid.UUID, bool) {
	e, ok := r.Event.(interface{ Tag() uuid.UUID })
	if !ok {
		return uuid.Nil, false
	}
	return e.Tag(), true
}

// Apply folds one event into the state of the tag that the event is about.
func (t *Tag) Apply(r Record) {
	switch e := r.Event.(type) {
	case TagCreated:
		*t = Tag{ID: e.TagID, Name: e.Name, NameKey: e.NameKey, Colour: e.Colour, CreatedBy: r.Who(), CreatedAt: r.When()}
	case TagRenamed:
		t.Name, t.NameKey = e.Name, e.NameKey
	case TagRecoloured:
		t.Colour = e.Colour
	case TagDeleted:
		t.DeletedAt = &r.At
	case TagMerged:
		t.DeletedAt, t.MergedInto = &r.At, &e.IntoID
	}
	t.UpdatedAt, t.Version, t.Position = r.At, r.Version, r.Position
}

// NewTag makes a tag. taken tells whether another tag has the name.
func NewTag(id uuid.UUID, name UniqueName, colour *string, taken bool) ([]Event, error) {
	colour, err := checkColour(colour)
	if err = firstError(checkTag(name, taken), err); err != nil {
		return nil, err
	}
	return []Event{TagCreated{id, name, colour}}, nil
}

// Change gives the tag another name, or another colour; nil keeps the present name. Present values give no event. taken as for NewTag.
func (t Tag) Change(name *UniqueName, colour Optional[string], taken bool) (events []Event, err error) {
	if name != nil {
		if err := checkTag(*name, taken); err != nil {
			return nil, err
		}
		if name.Name != t.Name {
			events = append(events, TagRenamed{t.ID, *name})
		}
	}
	if colour.Value, err = checkColour(colour.Value); err != nil {
		return nil, err
	}
	if changed := changedOptional(t.Colour, colour); changed.Set {
		events = append(events, TagRecoloured{t.ID, changed.Value})
	}
	return events, nil
}

// Delete deletes the tag. Tasks no longer show the tag, and their histories keep it.
func (t Tag) Delete() ([]Event, error) { return []Event{TagDeleted{t.ID}}, nil }

// NoSuchTag refuses a body with the id of a tag that does not exist or is deleted.
func NoSuchTag(pointer string) error { return InvalidField(pointer, "there is no such tag") }

// Merge deletes the tag and gives its tasks the tag into. One event does so for any number of tasks, because a task's present tags are
// read from the tags: see TagsNow. earlier are the tags that were merged into this one before. They are merged into the tag into as well,
// so every merged tag is one step from the tag that remains.
func (t Tag) Merge(into Tag, earlier []uuid.UUID) (events []Event, err error) {
	switch {
	case into.ID == t.ID:
		return nil, InvalidField("/into", "a tag cannot be merged into itself")
	case into.DeletedAt != nil:
		return nil, NoSuchTag("/into")
	case len(earlier) > MaxMerged:
		return nil, Refuse(Conflict, "too_many_merged", "more than %d tags were merged into this tag: merge the other tag into this one instead", MaxMerged)
	}
	for _, id := range earlier {
		events = append(events, TagMerged{id, into.ID})
	}
	return append(events, TagMerged{t.ID, into.ID}), nil
}

func checkTag(name UniqueName, taken bool) error {
	if err := checkText("/name", name.Name, 1, MaxTag); err != nil {
		return err
	}
	if taken {
		return Refuse(Conflict, "tag_name_taken", "another tag has this name: choose another name, or use that tag")
	}
	return nil
}

var colourPattern = regexp.MustCompile(`^#[0-9a-f]{6}$`)

func checkColour(colour *string) (*string, error) {
	if colour == nil {
		return nil, nil
	}
	lower := strings.ToLower(*colour)
	if !colourPattern.MatchString(lower) {
		return nil, InvalidField("/colour", "must be a colour such as #1f6feb")
	}
	return &lower, nil
}

// TagsNow maps a tag to its present one: itself, or the tag into which it was merged. A deleted tag has no entry.
type TagsNow map[uuid.UUID]uuid.UUID

// There tells whether a tag is neither deleted nor merged.
func (now TagsNow) There(tag uuid.UUID) bool {
	is, there := now[tag]
	return there && is == tag
}

// Tag gives the task a tag, which must exist. A tag that the task has already gives no event.
func (t Task) Tag(tag uuid.UUID, now TagsNow) ([]Event, error) {
	if slices.ContainsFunc(t.TagIDs, func(id uuid.UUID) bool { return now[id] == tag }) {
		return nil, nil
	}
	if t.tagged(now) >= MaxTags {
		return nil, Refuse(Conflict, "too_many_tags", "a task has at most %d tags", MaxTags)
	}
	return []Event{TaskTagged{tag}}, nil
}

// Untag takes a tag off the task, together with the tags that were merged into it.
func (t Task) Untag(tag uuid.UUID, now TagsNow) (events []Event, err error) {
	for _, id := range t.TagIDs {
		if now[id] == tag {
			events = append(events, TaskUntagged{id})
		}
	}
	return events, nil
}

// retag gives the events that make ids the tags of the task.
func (t Task) retag(ids []uuid.UUID, now TagsNow) (events []Event) {
	var has []uuid.UUID
	for _, id := range t.TagIDs {
		is, there := now[id]
		switch {
		case there && slices.Contains(ids, is):
			has = append(has, is)
		case there:
			events = append(events, TaskUntagged{id})
		}
	}
	for _, id := range ids {
		if !slices.Contains(has, id) {
			has = append(has, id)
			events = append(events, TaskTagged{id})
		}
	}
	return events
}

// tagged counts the present tags of the task.
func (t Task) tagged(now TagsNow) int {
	distinct := map[uuid.UUID]bool{}
	for _, id := range t.TagIDs {
		if is, there := now[id]; there {
			distinct[is] = true
		}
	}
	return len(distinct)
}

// Parts gives the member's parts in the tag.
func (t Tag) Parts(member uuid.UUID) Parts { return creator(t.CreatedBy, member) }
