package domain_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// uuids makes n ids with consecutive last digits.
func uuids(n int) (ids []uuid.UUID) {
	for i := range n {
		ids = append(ids, uuid.MustParse(fmt.Sprintf("01930000-0000-7000-8000-%012x", 0xc1+i)))
	}
	return ids
}

func named(name string) domain.UniqueName {
	return domain.UniqueName{Name: name, NameKey: strings.ToLower(name)}
}

func tagOf(events ...domain.Event) (tag domain.Tag) {
	for _, r := range history(domain.TagsStream, ann, events...) {
		tag.Apply(r)
	}
	return tag
}

func TestNewTag(t *testing.T) {
	id, red, odd := one, "#FF0000", "#ff00"
	want := []domain.Event{domain.TagCreated{TagID: id, UniqueName: named("A"), Colour: new("#ff0000")}}
	if got, err := domain.NewTag(id, named("A"), &red, false); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for at, err := range map[string]error{
		"/name":   last(domain.NewTag(id, named(" "), nil, false)),
		"/colour": last(domain.NewTag(id, named("A"), &odd, false)),
	} {
		if got := refused(t, err); got != at {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := domain.NewTag(id, named("A"), nil, true); refused(t, err) != "tag_name_taken" {
		t.Error(err)
	}
}

func last(_ []domain.Event, err error) error { return err }

func TestTagChange(t *testing.T) {
	tag := tagOf(domain.TagCreated{TagID: one, UniqueName: named("A"), Colour: new("#ff0000")})
	b, a := named("B"), named("A")
	for name, c := range map[string]struct {
		name   *domain.UniqueName
		colour domain.Optional[string]
		want   []domain.Event
	}{
		"nothing":       {nil, domain.Optional[string]{}, nil},
		"to what it is": {&a, domain.To("#FF0000"), nil},
		"name":          {&b, domain.Optional[string]{}, []domain.Event{domain.TagRenamed{TagID: one, UniqueName: b}}},
		"no colour":     {nil, domain.Optional[string]{Set: true}, []domain.Event{domain.TagRecoloured{TagID: one}}},
	} {
		got, err := tag.Change(c.name, c.colour, false)
		if err != nil || !cmp.Equal(c.want, got) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestTagMerge(t *testing.T) {
	ids := uuids(2)
	tag, into := tagOf(domain.TagCreated{TagID: one}), tagOf(domain.TagCreated{TagID: ids[0]})
	want := []domain.Event{domain.TagMerged{TagID: ids[1], IntoID: ids[0]}, domain.TagMerged{TagID: one, IntoID: ids[0]}}
	if got, err := tag.Merge(into, ids[1:]); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	gone := tagOf(domain.TagCreated{TagID: ids[0]}, domain.TagDeleted{TagID: ids[0]})
	if got := refused(t, last(tag.Merge(gone, nil))); got != "/into" {
		t.Errorf("merging into a deleted tag: refused at %q, want /into", got)
	}
	for code, err := range map[string]error{
		"/into":           last(tag.Merge(tag, nil)),
		"too_many_merged": last(tag.Merge(into, uuids(domain.MaxMerged+1))),
	} {
		if got := refused(t, err); got != code {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// A task with the tag old, which was merged into is, has the tag is. A deleted tag is not on the task.
func TestTaskTags(t *testing.T) {
	ids := uuids(4)
	old, is, gone, other := ids[0], ids[1], ids[2], ids[3]
	now := domain.TagsNow{old: is, is: is, other: other}
	task := taskOf(domain.TaskCreated{Title: "A", Status: "open", Priority: "none", TagIDs: []uuid.UUID{old, gone, is}})
	to := func(tags ...uuid.UUID) []domain.Event {
		events, err := task.Change(domain.TaskChange{TagIDs: &tags}, now)
		if err != nil {
			t.Error(err)
		}
		return events
	}
	off := []domain.Event{domain.TaskUntagged{TagID: old}, domain.TaskUntagged{TagID: is}}
	for name, c := range map[string]struct{ got, want []domain.Event }{
		"given again":     {events(t)(task.Tag(is, now)), nil},
		"another":         {events(t)(task.Tag(other, now)), []domain.Event{domain.TaskTagged{TagID: other}}},
		"off":             {events(t)(task.Untag(is, now)), off},
		"off, not on":     {events(t)(task.Untag(other, now)), nil},
		"all off":         {to(), off},
		"to what it is":   {to(is, is), nil},
		"one for another": {to(other, other), append(off[:2:2], domain.TaskTagged{TagID: other})},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	many := uuids(domain.MaxTags + 1)
	full, there := taskOf(domain.TaskCreated{Title: "A", Status: "open", Priority: "none", TagIDs: many[1:]}), domain.TagsNow{}
	for _, id := range many {
		there[id] = id
	}
	if _, err := full.Tag(many[0], there); refused(t, err) != "too_many_tags" {
		t.Error(err)
	}
	if _, err := task.Change(domain.TaskChange{TagIDs: &many}, there); refused(t, err) != "/tag_ids" {
		t.Error(err)
	}
}

func events(t *testing.T) func([]domain.Event, error) []domain.Event {
	return func(events []domain.Event, err error) []domain.Event {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return events
	}
}
