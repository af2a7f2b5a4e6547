package commands

import (
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
)

// draft gathers the events of a decision on several streams.
type draft struct {
	writes []write // each stream once, in the order of the first event
	behind []write // the writes that must follow the events of the things that the draft creates
	guards map[string]int
}

// write adds events to a stream that was read at a version, or at any version.
func (d *draft) write(stream string, version int, events ...domain.Event) {
	d.writes = added(d.writes, write{stream, version, events})
}

// follow is write for a stream whose events name things that the same append may create.
func (d *draft) follow(stream string, version int, events ...domain.Event) {
	d.behind = added(d.behind, write{stream, version, events})
}

func added(writes []write, w write) []write {
	if len(w.events) == 0 {
		return writes
	}
	for i := range writes {
		if writes[i].stream == w.stream {
			writes[i].events = append(writes[i].events, w.events...)
			return writes
		}
	}
	return append(writes, w)
}

// guard makes the decision depend on a stream that was only read.
func (d *draft) guard(stream string, version int) {
	d.rely(eventstore.Guard{Stream: stream, Version: version})
}

func (d *draft) rely(on ...eventstore.Guard) {
	if d.guards == nil {
		d.guards = map[string]int{}
	}
	for _, g := range on {
		d.guards[g.Stream] = g.Version
	}
}

// add adds the writes and guards of another draft.
func (d *draft) add(other draft) {
	for _, w := range other.writes {
		d.writes = added(d.writes, w)
	}
	for _, w := range other.behind {
		d.behind = added(d.behind, w)
	}
	for stream, version := range other.guards {
		d.guard(stream, version)
	}
}

// decision turns the draft into the decision on one thing. The thing's stream was written first.
func (d *draft) decision(stream string) (m decision) {
	for i, w := range append(d.writes, d.behind...) {
		if i == 0 && w.stream == stream {
			m.events, m.version = w.events, w.version
			continue
		}
		m.with = append(m.with, w)
	}
	for stream, version := range d.guards {
		m.guarding = append(m.guarding, eventstore.Guard{Stream: stream, Version: version})
	}
	return m
}
