package promises

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var _ = bring(noun{
	name: "tag",
	thing: func(t tester, x *tenant) uuid.UUID {
		for _, name := range []string{"other tag", "more tag"} { // to merge into
			x.things[name] = x.newTag(t, uuid.NewString()).ID
		}
		return x.newTag(t, x.private()).ID
	},
	bodies: map[string]func(x *tenant) object{
		"create-tag": func(*tenant) object { return object{"name": uuid.NewString(), "colour": "#1f6feb"} },
		"update-tag": func(*tenant) object { return object{"name": uuid.NewString(), "colour": nil} },
		"merge-tag": func(x *tenant) object {
			return object{"into": x.things[[]string{"other tag", "more tag"}[rand.IntN(2)]]}
		},
	},
	rule:   judgeTag,
	stream: func(domain.Event, uuid.UUID) string { return domain.TagsStream },
	values: map[string][]string{"colour": {"#000000", "#1f6feb"}},
	races: map[string]race{
		"a tag that is deleted": func(t tester, x *tenant) (one, other request) {
			task, tag := x.newTask(t), x.newTag(t, uuid.NewString())
			return request{"DELETE", tagPath(tag), nil}, request{"PUT", taskPath(task, "tags", tag.ID), nil}
		},
		"tags of which one is merged": func(t tester, x *tenant) (one, other request) {
			task, tag, into := x.newTask(t), x.newTag(t, uuid.NewString()), x.newTag(t, uuid.NewString())
			return request{"POST", tagPath(tag, "merge"), object{"into": into.ID}}, request{"PATCH", taskPath(task), object{"tag_ids": []uuid.UUID{tag.ID}}}
		},
		"two merges in a circle": func(t tester, x *tenant) (one, other request) {
			a, b := x.newTag(t, uuid.NewString()), x.newTag(t, uuid.NewString())
			return request{"POST", tagPath(a, "merge"), object{"into": b.ID}}, request{"POST", tagPath(b, "merge"), object{"into": a.ID}}
		},
	},
})

func (c *client) newTag(t tester, name string) domain.Tag {
	t.Helper()
	return decode[domain.Tag](t, c.call(t, "POST", "/api/tags", object{"name": name}).want(t, 201))
}

func tagPath(tag domain.Tag, more ...string) string {
	return strings.Join(append([]string{"/api/tags", tag.ID.String()}, more...), "/")
}

type judgedTag struct {
	by   uuid.UUID
	key  string
	gone bool
}

func judgeTag(o *oracle, e fact) error {
	id := e.event.(interface{ Tag() uuid.UUID }).Tag()
	tags := the[uuid.UUID, judgedTag](o)
	k := tags[id]
	if created, ok := e.event.(domain.TagCreated); ok {
		err := firstError(o.may(e.actor, domain.CreateTag, true), when(k != nil, "it is there"), o.free(id, created.NameKey))
		tags[id] = &judgedTag{by: e.actor, key: created.NameKey}
		return err
	}
	merged, merging := e.event.(domain.TagMerged)
	if k == nil || k.gone && !merging { // one that was merged goes on with the one that it was merged into
		return fmt.Errorf("there is no such tag")
	}
	switch event := e.event.(type) {
	case domain.TagRenamed:
		k.key = event.NameKey
		return firstError(o.may(e.actor, domain.UpdateTag, k.by == e.actor), o.free(id, event.NameKey))
	case domain.TagRecoloured:
		return o.may(e.actor, domain.UpdateTag, k.by == e.actor)
	case domain.TagMerged:
		err := firstError(when(merged.IntoID == id, "into itself"), o.tagged(merged.IntoID))
		if !k.gone {
			err = firstError(err, o.may(e.actor, domain.DeleteTag, k.by == e.actor))
		}
		k.gone = true
		return err
	case domain.TagDeleted:
		k.gone = true
		return o.may(e.actor, domain.DeleteTag, k.by == e.actor)
	}
	return errUnknown(e)
}

// free tells whether no other tag has a name.
func (o *oracle) free(id uuid.UUID, key string) error {
	for other, k := range the[uuid.UUID, judgedTag](o) {
		if other != id && !k.gone && k.key == key {
			return fmt.Errorf("the name %q is taken", key)
		}
	}
	return nil
}

// tagged tells whether tags are there.
func (o *oracle) tagged(ids ...uuid.UUID) error {
	for _, id := range ids {
		if k := the[uuid.UUID, judgedTag](o)[id]; k == nil || k.gone {
			return fmt.Errorf("the tag %s is not there", id)
		}
	}
	return nil
}
