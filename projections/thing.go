package projections

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Thing is what a record of the log is about.
type Thing struct {
	Noun  string
	ID    uuid.UUID // uuid.Nil for a noun of which there is one
	Title string    // as it is now; empty for one that has none, or a name that is sealed
	Key   string    // such as WEB-12; empty for one that has none
	On    *Thing    // the task that a comment, a file or a time entry is on; nil for none
	Of    uuid.UUID // whose time it is
}

// ThingOf says what a record is about: its type has the noun; the id is in the name of its stream, or in its data where things share one.
func ThingOf(r Record) Thing {
	noun, _, _ := strings.Cut(r.Type, ".")
	thing := Thing{Noun: noun}
	var own bool
	if thing.ID, own = domain.StreamID(noun, r.Stream); own {
		return thing
	}
	var data map[string]json.RawMessage
	_ = json.Unmarshal(r.Data, &data) // nothing is in one that is no object
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

// AskedFor is the things that an event of the security stream says were asked for; none for the data of any other event.
func AskedFor(data map[string]json.RawMessage) (things []Thing) {
	var noun string
	_ = json.Unmarshal(data["noun"], &noun)
	for _, id := range idsIn(data["thing_ids"]) {
		things = append(things, Thing{Noun: noun, ID: id})
	}
	return things
}

// titled has the queries for how things are called, by noun: those of a noun that is not here have their ids alone.
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

// placed has the queries for the tasks that things are on, and whose they are, by noun.
var placed = map[string]string{
	"comment":    `select c.id, null::uuid as of, t.id as on, t.title, coalesce(t.key, '') as key from comment c join task t on t.id = c.task_id where c.id = any($1)`,
	"attachment": `select a.id, null::uuid as of, t.id as on, t.title, coalesce(t.key, '') as key from attachment a join task t on t.id = a.task_id where a.id = any($1)`,
	"time_entry": `select e.id, e.member_id as of, t.id as on, t.title, coalesce(t.key, '') as key from time_entry e left join task t on t.id = e.task_id where e.id = any($1)`,
}

// placedRow is where a thing is.
type placedRow struct {
	ID         uuid.UUID
	Of, On     *uuid.UUID
	Title, Key *string
}

// refers says which noun a field of an event names by id.
var refers = map[string]string{
	"role": "role", "roles": "role", "member_id": "member", "assignee_ids": "member", "lead_id": "member",
	"task_id": "task", "parent_id": "task", "project_id": "project", "tag_id": "tag", "tag_ids": "tag", "into_id": "tag", "token_id": "token",
	"attachment_id": "attachment", "with_id": "task",
}

// Refers is the noun that a field of an event names by id; empty for one that names none.
func Refers(field string) string { return refers[field] }

// Updates tells of a type of event that its fields are those that changed, and no others.
func Updates(eventType string) bool {
	return strings.HasSuffix(eventType, ".updated") || eventType == "workspace.time_rules_changed"
}

// replaces tells of a type of event that it sets fields of a thing anew, so that what they were before is told, too.
func replaces(eventType string) bool {
	for _, suffix := range []string{".updated", ".renamed", ".recoloured", "_changed", "_required"} {
		if strings.HasSuffix(eventType, suffix) {
			return true
		}
	}
	return false
}

// Above is the task below which a record says that another one came; uuid.Nil for any other record.
func Above(r Record) uuid.UUID {
	id, _ := domain.StreamID("subtasks", r.Stream)
	return id
}

// Context is what is to be known of records to tell of them in words.
type Context struct {
	Things  map[uuid.UUID]Thing         // those that they are about, and those that they name
	Members map[uuid.UUID]domain.Member // likewise, and who did it; also of those who left
	Before  map[int64]map[string]string // by position: the JSON of fields that were updated, as they were before
}

// Context looks up what records are about, in one round trip: things as they are now, those that are gone as well.
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

// calledRow is how a thing is called.
type calledRow struct {
	ID         uuid.UUID
	Title, Key string
}

// of is a thing with where it is.
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

// beforeRow is what a field was before.
type beforeRow struct {
	Position int64
	Field    string
	Old      *string
}

// updatedFields are fields of events that updated a thing, as arrays for one statement.
type updatedFields struct {
	positions       []int64
	streams, fields []string
	versions        []int
	keys, ids       []string // where things share a stream: the field of its events that says which one it is, and its id
}

// named are the ids of what records are about and name, by noun, and the fields that they updated.
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
		_ = json.Unmarshal(r.Data, &data) // nothing is in one that is no object
		for _, asked := range AskedFor(data) {
			ids[asked.Noun] = append(ids[asked.Noun], asked.ID)
		}
		for field, value := range data {
			if noun := refers[field]; noun != "" {
				ids[noun] = append(ids[noun], idsIn(value)...)
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

// selectBefore finds, for fields that were set anew, what the event before had that set the field, or what those that were pruned made of it: some
// way back, and no further.
const selectBefore = `select a.position, a.field, coalesce((select e.data -> a.field from event e
		where e.position > (select pruned from head) and e.stream = a.stream and e.version < a.version and e.version > a.version - 200
			and (e.data -> a.field) is not null and (a.key = '' or e.data ->> a.key = a.id)
		order by e.version desc limit 1),
	(select b.state -> a.field from baseline b
		where b.stream = a.stream and b.model <> '' and b.position <= (select pruned from head) and b.version > a.version - 200 and (a.key = '' or b.id::text = a.id)
		order by b.position desc limit 1))::text as old
	from unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[]) as a (position, stream, version, field, key, id)`

// idsIn are the ids in a value: one, some, or none.
func idsIn(value json.RawMessage) (ids []uuid.UUID) {
	var one uuid.UUID
	if json.Unmarshal(value, &one) == nil && one != uuid.Nil {
		return []uuid.UUID{one}
	}
	_ = json.Unmarshal(value, &ids)
	return ids
}
