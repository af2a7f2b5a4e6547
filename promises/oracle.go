package promises

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
)

// oracle reads a whole log and says of each event whether it was right to accept it, by what the log holds before
// it and by nothing else: who did it, with which role, to what. It is written from the promises, without the
// domain's own rules; so what several processes decided at once must come out as if one had, one by one. Each noun
// brings its rule.
type oracle struct {
	people roster
	plan   string
	state  map[reflect.Type]any // of each noun, see the
}

// fact is an event of a log.
type fact struct {
	eventstore.Record
	event domain.Event
	actor uuid.UUID // uuid.Nil for Kluis itself
	id    uuid.UUID // of the thing whose stream it is in, if the stream is of one thing
}

// the is what an oracle remembers of the things of one noun, by their keys.
func the[K comparable, T any](o *oracle) map[K]*T {
	kind := reflect.TypeFor[map[K]*T]()
	if o.state[kind] == nil {
		o.state[kind] = map[K]*T{}
	}
	return o.state[kind].(map[K]*T)
}

// judge reads the client's log, which must be right from beginning to end.
func (c *client) judge(t tester) {
	t.Helper()
	o := &oracle{people: roster{}, state: map[reflect.Type]any{}}
	for _, r := range c.log(t) {
		if err := o.accept(r); err != nil {
			t.Errorf("position %d, %s in %s by %v: %v", r.Position, r.Type, r.Stream, r.Actor, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(nouns)) {
		if end := nouns[name].end; end != nil {
			if err := end(o); err != nil {
				t.Errorf("at the end of the log: %v", err)
			}
		}
	}
}

func (o *oracle) accept(r eventstore.Record) error {
	n, err := nounOf(r.Type)
	if err != nil {
		return err
	}
	if n.rule == nil {
		return fmt.Errorf("promises/%s.go brings no rule", n.name)
	}
	e := fact{Record: r, event: must(domain.Decode(r.Type, r.Data))}
	if r.Actor != nil {
		e.actor = *r.Actor
	}
	e.id, _ = domain.StreamID(n.name, r.Stream)
	return n.rule(o, e)
}

// may tells whether the actor's role, at this place in the log, grants p on what is, or is not, their own, and is in projects.
func (o *oracle) may(actor uuid.UUID, p domain.Permission, own bool, in ...*uuid.UUID) error {
	who := o.people[actor]
	if who == nil || who.status != "active" {
		return fmt.Errorf("the actor is no active member")
	}
	scope := o.grants(who.role).Scope(p)
	within := slices.ContainsFunc(in, func(project *uuid.UUID) bool { return o.in(actor, project) })
	if scope != domain.All && (scope != domain.Own || !own) && (scope != domain.InProject || !own && !within) {
		return fmt.Errorf("%s does not grant %s", who.role, p)
	}
	return nil
}

// active tells whether the actor is an active member.
func (o *oracle) active(actor uuid.UUID) error {
	who := o.people[actor]
	return when(who == nil || who.status != "active", "the actor is no active member")
}

// errUnknown is what a rule says about an event that it does not know.
func errUnknown(e fact) error { return fmt.Errorf("the rule of %s does not know it", e.Type) }

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

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
