package commands

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// Entry is a record of the log as an auditor reads it.
type Entry struct {
	projections.Record
	Origin Origin
	Who    *Who // nil for Kluis itself
	About  projections.Thing
	Before map[string]string // the JSON of fields that were updated, as they were before
}

// Who is a member as an auditor reads of one. Name is empty when the reader may not see it, and for an erased member.
type Who struct {
	ID     uuid.UUID
	Name   string
	Status string // one of domain.Member, or Erased
}

// Erased is the status of a member whose data key is gone.
const Erased = "erased"

// Audit is records of the log, with the members and things that they name.
type Audit struct {
	Entries []Entry
	People  map[uuid.UUID]Who
	Things  map[uuid.UUID]projections.Thing
}

// ReadAudit resolves the members and the things that records name. Names and other personal data are opened for a reader who may read all members.
func (c *Commands) ReadAudit(ctx context.Context, by projections.Actor, records []projections.Record) (Audit, error) {
	known, err := c.Projections.Context(ctx, by.Workspace, records)
	if err != nil {
		return Audit{}, err
	}
	origins, err := c.OpenOrigins(ctx, by.Workspace, records)
	if err != nil {
		return Audit{}, err
	}
	members, ids := make([]domain.Member, 0, len(known.Members)), make([]uuid.UUID, 0, len(known.Members))
	for id, m := range known.Members {
		members, ids = append(members, m), append(ids, id)
	}
	opens := by.Scope(domain.ReadMember) == domain.All
	keys, err := c.Vault.Keys(ctx, by.Workspace, ids)
	if err != nil {
		return Audit{}, err
	}
	names := map[uuid.UUID]Person{}
	if opens {
		if names, err = c.OpenMembers(ctx, by.Workspace, members); err != nil {
			return Audit{}, err
		}
	}
	a := Audit{People: map[uuid.UUID]Who{}, Things: known.Things}
	for _, m := range members {
		who := Who{ID: m.ID, Name: names[m.ID].FullName, Status: m.Status}
		if m.ErasedAt != nil {
			delete(keys, m.ID) // this process may still have the key
		}
		if _, there := keys[m.ID]; !there {
			who.Status = Erased
		}
		a.People[m.ID] = who
		a.Things[m.ID] = projections.Thing{Noun: "member", ID: m.ID, Title: who.Name}
	}
	for i, r := range records {
		if known.Members[metaSubject(by.Workspace, r)].ErasedAt != nil {
			origins[i] = Origin{Token: origins[i].Token} // this process may still have the key to the rest
		}
		e := Entry{Record: r, Origin: origins[i], About: projections.ThingOf(r), Before: known.Before[r.Position]}
		if thing, there := a.Things[e.About.ID]; there {
			e.About = thing
		}
		if r.Actor != nil {
			who, there := a.People[*r.Actor]
			if !there {
				who = Who{ID: *r.Actor, Status: Erased}
			}
			e.Who = &who
		}
		if key, there := keys[e.About.ID]; there && opens && e.About.Noun == "member" {
			e.Data = openData(key, r.Data)
		}
		a.Entries = append(a.Entries, e)
	}
	return a, nil
}

// sealedAs gives the field of the vault under which a personal field of an event is sealed.
var sealedAs = map[string]string{"email": emailField, "full_name": nameField}

// sealing has the types of events, or the tables, that have sealed fields.
type sealing map[string]domain.Place

var sealingEvents, sealingRows = sealingOf(domain.InEvents), sealingOf(domain.InWorkspace)

func sealingOf(kind domain.PlaceKind) sealing {
	all := sealing{}
	for _, place := range domain.Places(kind) {
		if len(place.Sealed) > 0 {
			all[place.Name] = place
		}
	}
	return all
}

// sealedIn gives the sealed fields in the data of a record, and the member under whose data key they are sealed; nil when there are none.
func sealedIn(r projections.Record) (member uuid.UUID, sealed map[string]string) {
	return sealingEvents.in(r.Type, r.Data)
}

// sealedInState is sealedIn for a baseline.
func sealedInState(b eventstore.Baseline) (member uuid.UUID, sealed map[string]string) {
	return sealingRows.in(b.Model, b.State)
}

func (s sealing) in(name string, data json.RawMessage) (member uuid.UUID, sealed map[string]string) {
	place, is := s[name]
	var fields map[string]json.RawMessage
	if !is || json.Unmarshal(data, &fields) != nil || json.Unmarshal(fields[place.About[0]], &member) != nil {
		return uuid.Nil, nil
	}
	sealed = map[string]string{}
	for _, name := range place.Sealed {
		var token string
		if json.Unmarshal(fields[name], &token) == nil && token != "" {
			sealed[name] = token
		}
	}
	return member, sealed
}

// openData opens the personal fields in the data of an event about a member. A value that does not open stays as it is.
func openData(key vault.Key, data json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return data
	}
	opened := false
	for name, as := range sealedAs {
		var sealed string
		if json.Unmarshal(fields[name], &sealed) != nil || sealed == "" {
			continue
		}
		plain, err := key.Open(as, sealed)
		if err != nil {
			continue
		}
		fields[name], _ = json.Marshal(plain) // a string cannot fail
		opened = true
	}
	if !opened {
		return data
	}
	text, _ := json.Marshal(fields)
	return text
}
