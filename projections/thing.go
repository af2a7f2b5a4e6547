package projections

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Thing is the thing that a record of the log is about.
type Thing struct {
	Noun  string
	ID    uuid.UUID // uuid.Nil for a noun with a single thing
	Title string    // the present title; empty for a thing without one, or with a sealed name
	Key   string    // such as WEB-12; empty for a thing without one
	On    *Thing    // the task that a comment, a file or a time entry is on; nil for none
	Of    uuid.UUID // the worker of a time entry
}

// ThingOf gives the thing that a record is about. The noun is in the type of the event. The id is in the name of the stream, or in the data when
// things share a stream.
func ThingOf(r Record) Thing {
	noun, _, _ := strings.Cut(r.Type, ".")
	thing := Thing{Noun: noun}
	var own bool
	if thing.ID, own = domain.StreamID(noun, r.Stream); own {
		return thing
	}
	var data map[string]json.RawMessage
	_ = json.Unmarshal(r.Data, &data) // data that are no object name nothing
	if asked := AskedFor(data); len(asked) == 1 {
		return asked[0]
	}
	for _, field := range []string{noun + "_id", "entry_id"} {
		if json.Unmarshal(data[field], &thing.ID) == nil && thing.ID != uuid.Nil {
			break
		}
	}
	return thing
}

// AskedFor gives the requested things of an event of the security stream; none for the data of any other event.
func AskedFor(data map[string]json.RawMessage) (things []Thing) {
	var noun string
	_ = json.Unmarshal(data["noun"], &noun)
	for _, id := range IDsIn(data["thing_ids"]) {
		things = append(things, Thing{Noun: noun, ID: id})
	}
	return things
}

// titled has the queries for the titles of things, by noun. Things of any other noun are shown by their ids.
//
//nolint:gosec // names of columns, no credentials
var titled = map[string]string{
	"workspace":   `select id, name as title, '' as key from workspace where id = any($1)`,
	"role":        `select id, name as title, '' as key from role where id = any($1)`,
	"project":     `select id, name as title, key from project where id = any($1)`,
	"task":        `select id, title, coalesce(key, '') as key from task where id = any($1)`,
	"tag":         `select id, name as title, '' as key from tag where id = any($1)`,
	"comment":     `select id, left(body, 100) as title, '' as key from comment where id = any($1)`,
	"integration": `select id, name as title, '' as key from integration where id = any($1)`,
	"receiver":    `select id, name as title, '' as key from receiver where id = any($1)`,
	"attachment":  `select id, name as title, '' as key from attachment where id = any($1)`,
	"token":       `select id, name as title, '' as key from token where id = any($1)`,
}

// placed has the queries for the tasks that things are on, and for the workers of time entries, by noun.
var placed = map[string]string{
	"comment":    `select c.id, null::uuid as of, t.id as on, t.title, coalesce(t.key, '') as key from comment c join task t on t.id = c.task_id where c.id = any($1)`,
	"attachment": `select a.id, null::uuid as of, t.id as on, t.title, coalesce(t.key, '') as key from attachment a join task t on t.id = a.task_id where a.id = any($1)`,
	"time_entry": `select e.id, e.member_id as of, t.id as on, t.title, coalesce(t.key, '') as key from time_entry e left join task t on t.id = e.task_id where e.id = any($1)`,
}

// placedRow is a thing with its task and its worker.
type placedRow struct {
	ID         uuid.UUID
	Of, On     *uuid.UUID
	Title, Key *string
}

// refers gives the noun whose ids a field of an event holds.
var refers = map[string]string{
	"role": "role", "roles": "role", "member_id": "member", "assignee_ids": "member", "lead_id": "member",
	"task_id": "task", "parent_id": "task", "project_id": "project", "tag_id": "tag", "tag_ids": "tag", "into_id": "tag", "token_id": "token",
	"attachment_id": "attachment", "with_id": "task",
}

// Refers gives the noun whose ids a field of an event holds; empty for a field without ids.
func Refers(field string) string { return refers[field] }

// Updates tells whether events of a type have only the fields that changed.
func Updates(eventType string) bool {
	return strings.HasSuffix(eventType, ".updated") || eventType == "workspace.time_rules_changed"
}

// replaces tells whether events of a type set fields that had a value before, which is then shown as well.
func replaces(eventType string) bool {
	for _, suffix := range []string{".updated", ".renamed", ".recoloured", "_changed", "_required"} {
		if strings.HasSuffix(eventType, suffix) {
			return true
		}
	}
	return false
}

// Above gives the parent in a record of an added subtask; uuid.Nil for any other record.
func Above(r Record) uuid.UUID {
	id, _ := domain.StreamID("subtasks", r.Stream)
	return id
}

// Context is the facts that are needed to describe records in words.
type Context struct {
	Things  map[uuid.UUID]Thing         // the things that the records are about, and the things that they name
	Members map[uuid.UUID]domain.Member // the members likewise, and the actors, including removed members
	Before  map[int64]map[string]string // by position: the JSON of updated fields before the update
}

// Context looks up the things that records are about, in one round trip: their present states, deleted things included.
func (p *Projections) Context(ctx context.Context, w pg.Workspace, records []Record) (Context, error) {
	ids, updated := named(records)
	var members []domain.Member
	query := []pg.Statement{pg.Rows(&members, `select `+memberColumns+` from member 
		where id = any($1 || array(select member_id from time_entry where id = any($2)))`, ids["member"], ids["time_entry"])}
	found, places := map[string]*[]calledRow{}, map[string]*[]placedRow{}
	for noun, sql := range titled {
		if len(ids[noun]) > 0 {
			found[noun] = new([]calledRow)
			query = append(query, pg.Rows(found[noun], sql, ids[noun])) //sqlcheck:allow one of those above
		}
	}
	for noun, sql := range placed {
		if len(ids[noun]) > 0 {
			places[noun] = new([]placedRow)
			query = append(query, pg.Rows(places[noun], sql, ids[noun])) //sqlcheck:allow one of those above
		}
	}
	var before []beforeRow
	if updated.positions != nil {
		query = append(query, pg.Rows(&before, selectBefore, updated.positions, updated.streams, updated.versions, updated.fields, updated.keys, updated.ids))
	}
	c := Context{Things: map[uuid.UUID]Thing{}, Members: map[uuid.UUID]domain.Member{}, Before: map[int64]map[string]string{}}
	if err := p.db.Read(ctx, w, query...); err != nil {
		return c, err
	}
	for _, m := range members {
		c.Members[m.ID] = m
	}
	for noun, rows := range found {
		for _, row := range *rows {
			c.Things[row.ID] = Thing{Noun: noun, ID: row.ID, Title: row.Title, Key: row.Key}
		}
	}
	for noun, rows := range places {
		for _, row := range *rows {
			c.Things[row.ID] = row.of(noun, c.Things[row.ID])
		}
	}
	for _, b := range before {
		if c.Before[b.Position] == nil {
			c.Before[b.Position] = map[string]string{}
		}
		if b.Old != nil {
			c.Before[b.Position][b.Field] = *b.Old
		}
	}
	return c, nil
}

// calledRow is a thing with its title and key.
type calledRow struct {
	ID         uuid.UUID
	Title, Key string
}

// of gives the thing with its task and its worker.
func (row placedRow) of(noun string, thing Thing) Thing {
	thing.Noun, thing.ID = noun, row.ID
	if row.Of != nil {
		thing.Of = *row.Of
	}
	if row.On != nil {
		thing.On = &Thing{Noun: "task", ID: *row.On, Title: *row.Title, Key: *row.Key}
	}
	return thing
}

// beforeRow is the value of a field before an update.
type beforeRow struct {
	Position int64
	Field    string
	Old      *string
}

// updatedFields are the updated fields of events, as arrays for one statement.
type updatedFields struct {
	positions       []int64
	streams, fields []string
	versions        []int
	keys, ids       []string // when things share a stream: the field of the events with the id of the thing, and the id
}

// named gives the ids of the things that records are about or name, by noun, and the fields that the records updated.
func named(records []Record) (ids map[string][]uuid.UUID, updated updatedFields) {
	ids = map[string][]uuid.UUID{}
	for _, r := range records {
		if r.Actor != nil {
			ids["member"] = append(ids["member"], *r.Actor)
		}
		thing := ThingOf(r)
		ids[thing.Noun] = append(ids[thing.Noun], thing.ID)
		if above := Above(r); above != uuid.Nil {
			ids["task"] = append(ids["task"], above)
		}
		var data map[string]json.RawMessage
		_ = json.Unmarshal(r.Data, &data) // data that are no object name nothing
		for _, asked := range AskedFor(data) {
			ids[asked.Noun] = append(ids[asked.Noun], asked.ID)
		}
		for field, value := range data {
			if noun := refers[field]; noun != "" {
				ids[noun] = append(ids[noun], IDsIn(value)...)
			}
			if replaces(r.Type) {
				updated.add(r, thing, field)
			}
		}
	}
	return ids, updated
}

func (u *updatedFields) add(r Record, thing Thing, field string) {
	key := ""
	if _, own := domain.StreamID(thing.Noun, r.Stream); !own && thing.ID != uuid.Nil {
		key = thing.Noun + "_id"
	}
	u.positions, u.versions = append(u.positions, r.Position), append(u.versions, r.Version)
	u.streams, u.fields = append(u.streams, r.Stream), append(u.fields, field)
	u.keys, u.ids = append(u.keys, key), append(u.ids, thing.ID.String())
}

// selectBefore finds the earlier value of updated fields: that of the last earlier event that set the field, within a bounded distance, or that of
// the baseline.
const selectBefore = `select a.position, a.field, coalesce((select e.data -> a.field from event e
		where e.position > (select pruned from head) and e.stream = a.stream and e.version < a.version and e.version > a.version - 200
			and (e.data -> a.field) is not null and (a.key = '' or e.data ->> a.key = a.id)
		order by e.version desc limit 1),
	(select b.state -> a.field from baseline b
		where b.stream = a.stream and b.model <> '' and b.position <= (select pruned from head) and b.version > a.version - 200 and (a.key = '' or b.id::text = a.id)
		order by b.position desc limit 1))::text as old
	from unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[]) as a (position, stream, version, field, key, id)`

// IDsIn gives the ids in a value: one, several, or none.
func IDsIn(value json.RawMessage) (ids []uuid.UUID) {
	var one uuid.UUID
	if json.Unmarshal(value, &one) == nil && one != uuid.Nil {
		return []uuid.UUID{one}
	}
	_ = json.Unmarshal(value, &ids)
	return ids
}
