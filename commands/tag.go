package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// CreateTag makes a tag.
func (c *Commands) CreateTag(ctx context.Context, r Request, name string, colour *string) (Result[domain.Tag], error) {
	id, named, taken, version := uuid.Must(uuid.NewV7()), uniqueName(name), false, 0
	return create(ctx, c, r, projections.Tags, domain.CreateTag, id, func(*attempt) (decision, error) {
		events, err := domain.NewTag(id, named, colour, taken)
		return decision{events: events, version: version}, err
	}, projections.FindTagName(&taken, &version, id, named.NameKey))
}

// UpdateTag gives a tag another name or colour. A name of nil is left alone.
func (c *Commands) UpdateTag(ctx context.Context, r Request, id uuid.UUID, name *string, colour domain.Optional[string]) (Result[domain.Tag], error) {
	var named domain.UniqueName
	if name != nil {
		named = uniqueName(*name)
	}
	taken, version := false, 0
	return changeOne(ctx, c, r, projections.Tags, domain.UpdateTag, id, stateOnly(func(tag domain.Tag) ([]domain.Event, error) {
		if name == nil {
			return tag.Change(nil, colour, false)
		}
		return tag.Change(&named, colour, taken)
	}), projections.FindTagName(&taken, &version, id, named.NameKey))
}

// DeleteTag deletes a tag.
func (c *Commands) DeleteTag(ctx context.Context, r Request, id uuid.UUID) (Result[domain.Tag], error) {
	return changeOne(ctx, c, r, projections.Tags, domain.DeleteTag, id, stateOnly(domain.Tag.Delete))
}

// MergeTag deletes a tag, and gives its tasks another tag.
func (c *Commands) MergeTag(ctx context.Context, r Request, id, into uuid.UUID) (Result[domain.Tag], error) {
	var earlier []uuid.UUID
	return changeOne(ctx, c, r, projections.Tags, domain.DeleteTag, id, func(a *attempt, tag domain.Tag) (decision, error) {
		other, err := load(ctx, a, projections.Tags, into)
		if refusal, is := domain.Refusal(err); is && refusal.Kind == domain.NotFound {
			return decision{}, domain.NoSuchTag("/into")
		}
		if err != nil {
			return decision{}, err
		}
		events, err := tag.Merge(other.State, earlier)
		return decision{events: events}, err
	}, projections.MergedInto(&earlier, id))
}

// TagTask gives a task a tag.
func (c *Commands) TagTask(ctx context.Context, r Request, id, tag uuid.UUID) (Result[domain.Task], error) {
	return c.changeTag(ctx, r, id, tag, domain.Task.Tag)
}

// UntagTask removes a tag from a task.
func (c *Commands) UntagTask(ctx context.Context, r Request, id, tag uuid.UUID) (Result[domain.Task], error) {
	return c.changeTag(ctx, r, id, tag, domain.Task.Untag)
}

func (c *Commands) changeTag(ctx context.Context, r Request, id, tag uuid.UUID,
	decide func(domain.Task, uuid.UUID, domain.TagsNow) ([]domain.Event, error),
) (Result[domain.Task], error) {
	var found []projections.TagNow
	version := 0
	return changeOne(ctx, c, r, projections.Tasks, domain.UpdateTask, id, func(_ *attempt, task domain.Task) (decision, error) {
		now := tagsNow(found)
		if !now.There(tag) {
			return decision{}, domain.Missing("tag")
		}
		events, err := decide(task, tag, now)
		return decision{events: events, guarding: []eventstore.Guard{{Stream: domain.TagsStream, Version: version}}}, err
	}, projections.FindTags(&found, &version, r.By, []uuid.UUID{id}, []uuid.UUID{tag})...)
}

func tagsNow(found []projections.TagNow) domain.TagsNow {
	now := domain.TagsNow{}
	for _, tag := range found {
		now[tag.ID] = tag.Now
	}
	return now
}
