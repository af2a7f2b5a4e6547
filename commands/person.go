package commands

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// PersonData is the data about one member, without the log, for which see PersonEvents.
type PersonData struct {
	Workspace string // the name of the workspace
	Member    domain.Member
	Person
	Places []PersonPlace
	Things map[uuid.UUID]projections.Thing // that the rows name, and that the caller may see

	Position int64 // of the event that records the request
}

// PersonPlace is the data about a member in one place of the registry (domain.Data).
type PersonPlace struct {
	Category domain.Category
	Name     string
	Rows     []map[string]json.RawMessage
}

// RequestPersonData gives a member, or an admin for any member, all data about the member (GDPR, Art. 15 and 20), who may have left. The log records the
// request before the answer begins.
func (c *Commands) RequestPersonData(ctx context.Context, r Request, id uuid.UUID) (PersonData, error) {
	var data PersonData
	var m domain.Member
	done, err := c.change(ctx, r, func(a *attempt) (plan, error) {
		if err := a.read(ctx); err != nil {
			return plan{}, err
		}
		if id != a.by.Member && (a.by.Scope(domain.UpdateMember) != domain.All || a.by.TwoFactor.MustEnrol()) { // only the member, and a caller who may change all members, get the data
			return plan{}, domain.Missing("member")
		}
		var err error
		if m, err = c.Projections.AnyMember(ctx, a.by.Workspace, id); err != nil {
			return plan{}, err
		}
		return plan{stream: domain.AccountStream(id), version: eventstore.Any, events: []domain.Event{domain.MemberDataExported{MemberID: id}}}, nil
	})
	if err != nil {
		return data, err
	}
	in, _, err := c.Projections.GetWorkspace(ctx, r.By.Workspace)
	if err != nil {
		return data, err
	}
	people, err := c.OpenMembers(ctx, r.By.Workspace, []domain.Member{m})
	if err != nil {
		return data, err
	}
	data.Position, data.Workspace = done.position, in.Name
	data.Member, data.Person = m, people[m.ID]
	for _, category := range domain.Data {
		for _, place := range category.Places {
			if place.Kind != domain.InWorkspace {
				continue
			}
			rows, err := c.Projections.AboutMember(ctx, r.By.Workspace, place, id)
			if err != nil {
				return data, err
			}
			if rows = openRows(place, rows, data.Person); len(rows) > 0 {
				data.Places = append(data.Places, PersonPlace{category, place.Name, rows})
			}
		}
	}
	data.Things, err = c.nameThings(ctx, r.By, data.Places)
	return data, err
}

// nameThings gives the tasks and projects that rows name, as far as the caller may see them.
func (c *Commands) nameThings(ctx context.Context, by projections.Actor, places []PersonPlace) (map[uuid.UUID]projections.Thing, error) {
	ids := map[string][]uuid.UUID{}
	for _, place := range places {
		for _, row := range place.Rows {
			for column, value := range row {
				if noun := projections.Refers(column); noun == "task" || noun == "project" {
					ids[noun] = append(ids[noun], projections.IDsIn(value)...)
				}
			}
		}
	}
	return c.Projections.Titles(ctx, by, ids)
}

// openRows replaces the sealed columns of rows about a person by their texts, and leaves out rows that say nothing but whose they are.
func openRows(place domain.Place, rows []map[string]json.RawMessage, who Person) (left []map[string]json.RawMessage) {
	for _, row := range rows {
		for _, column := range place.Sealed {
			delete(row, column)
		}
		if place.Name == "member" {
			row["email"], _ = json.Marshal(who.Email)        // a string cannot fail
			row["full_name"], _ = json.Marshal(who.FullName) // nor this one
		}
		if len(row) > len(place.About) {
			left = append(left, row)
		}
	}
	return left
}

// PersonEvents calls fn with the events about a member, in three passes, each from the oldest: what the member did here, what the member did elsewhere
// and an import brought here, and what others did to the member. Personal data in them is the member's own. Of others there are only names, when the
// caller may see them.
func (c *Commands) PersonEvents(ctx context.Context, by projections.Actor, id uuid.UUID, fn func(Audit) error) error {
	did := func(r projections.Record) bool { return r.Actor != nil && *r.Actor == id }
	elsewhere := func(r projections.Record) bool {
		original := domain.OriginalOf(r.Data)
		return !did(r) && original != nil && original.By == id
	}
	for _, pass := range []struct {
		filter projections.Filter
		keep   func(projections.Record) bool
	}{
		{projections.Filter{Actor: &id}, did},
		{projections.Filter{Text: id.String()}, elsewhere},
		{projections.Filter{About: projections.AboutThing(id)}, func(r projections.Record) bool { return !did(r) && !elsewhere(r) }},
	} {
		err := c.Projections.EventsOf(ctx, by.Workspace, pass.filter, func(records []projections.Record) error {
			var kept []projections.Record
			for _, r := range records {
				if pass.keep(r) {
					kept = append(kept, r)
				}
			}
			if len(kept) == 0 {
				return nil
			}
			audit, err := c.ReadAudit(ctx, by, kept)
			if err == nil {
				err = c.hideTitles(ctx, by, &audit)
			}
			if err != nil {
				return err
			}
			for i := range audit.Entries {
				e := &audit.Entries[i]
				if metaSubject(by.Workspace, e.Record) != id {
					e.Origin = Origin{}
				}
				if e.About.Noun == "member" && e.About.ID != id {
					e.Data = withoutSealed(kept[i])
				}
			}
			return fn(audit)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hideTitles takes away what the things are called by now that the actor may not see.
func (c *Commands) hideTitles(ctx context.Context, by projections.Actor, audit *Audit) error {
	ids := map[string][]uuid.UUID{}
	for id, thing := range audit.Things {
		ids[thing.Noun] = append(ids[thing.Noun], id)
		if thing.On != nil {
			ids[thing.On.Noun] = append(ids[thing.On.Noun], thing.On.ID)
		}
	}
	seen, err := c.Projections.Seen(ctx, by, ids)
	hide := func(thing projections.Thing) projections.Thing {
		if projections.Hides(thing.Noun) && !seen[thing.ID] {
			thing.Title, thing.Key = "", ""
		}
		return thing
	}
	hideBoth := func(thing projections.Thing) projections.Thing {
		thing = hide(thing)
		if thing.On != nil {
			on := hide(*thing.On)
			thing.On = &on
		}
		return thing
	}
	for id, thing := range audit.Things {
		audit.Things[id] = hideBoth(thing)
	}
	for i, e := range audit.Entries {
		audit.Entries[i].About = hideBoth(e.About)
	}
	return err
}

// withoutSealed gives the data of a record without its sealed fields.
func withoutSealed(r projections.Record) json.RawMessage {
	_, sealed := sealedIn(r)
	if len(sealed) == 0 {
		return r.Data
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.Data, &fields) != nil {
		return json.RawMessage(`{}`)
	}
	for name := range sealed {
		delete(fields, name)
	}
	text, _ := json.Marshal(fields) // its values came from JSON
	return text
}
