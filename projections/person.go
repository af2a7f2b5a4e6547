package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// aboutMember has the query for the rows about one member, for each table of a workspace with About fields in the registry.
var aboutMember = func() map[string]string {
	all := map[string]string{}
	for _, place := range domain.Places(domain.InWorkspace) {
		if len(place.About) == 0 || place.Name == "event" {
			continue
		}
		var is []string
		for _, column := range place.About {
			if strings.HasSuffix(column, "_ids") {
				is = append(is, "t."+column+" @> array[$1::uuid]")
			} else {
				is = append(is, "t."+column+" = $1::uuid")
			}
		}
		all[place.Name] = "select to_jsonb(t)::text from " + place.Name + " as t where " + strings.Join(is, " or ")
	}
	return all
}()

// AboutMember answers with the rows of a place that are about a member, as objects of the columns that may leave. Sealed columns stay sealed.
func (p *Projections) AboutMember(ctx context.Context, w pg.Workspace, place domain.Place, member uuid.UUID) ([]map[string]json.RawMessage, error) {
	sql, known := aboutMember[place.Name]
	if !known {
		return nil, nil
	}
	var texts []string
	if _, err := p.Fresh(ctx, w, pg.Column(&texts, sql, member)); err != nil { //sqlcheck:allow made once, of the registry's names
		return nil, fmt.Errorf("read the rows of %s about a member: %w", place.Name, err)
	}
	rows := make([]map[string]json.RawMessage, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &rows[i]); err != nil {
			return nil, fmt.Errorf("read the rows of %s about a member: %w", place.Name, err)
		}
		for column := range rows[i] {
			if !slices.Contains(place.Fields, column) || !place.Leaves(column) {
				delete(rows[i], column)
			}
		}
	}
	return rows, nil
}

// AnyMember answers with a member, including a removed one.
func (p *Projections) AnyMember(ctx context.Context, w pg.Workspace, id uuid.UUID) (domain.Member, error) {
	m, _, err := get[domain.Member](ctx, p, w, "member", `select `+memberColumns+` from member where id = $1`, id)
	return m, err
}

// EventsOf gives fn the records by a member or about a member, as f chooses, the oldest first, a page at a time.
func (p *Projections) EventsOf(ctx context.Context, w pg.Workspace, f Filter, fn func([]Record) error) error {
	for {
		var chosen eventstore.Chosen
		var records []Record
		if err := p.db.Read(ctx, w, pg.PlanEach(), eventstore.Oldest(&chosen, f, eventstore.PageEvents)); err != nil {
			return err
		}
		if len(chosen.Positions) > 0 {
			if err := p.db.Read(ctx, w, eventstore.LightestAt(&records, chosen.Positions)); err != nil {
				return err
			}
		}
		if len(records) > 0 {
			if err := fn(records); err != nil {
				return err
			}
		}
		switch {
		case len(records) > 0 && (len(records) < len(chosen.Positions) || len(records) == eventstore.PageEvents):
			f.After = records[len(records)-1].Position
		case chosen.LookedTo > 0:
			f.After = chosen.LookedTo
		default:
			return nil
		}
	}
}

// seeing is the query for the things of a noun, among some ids, that a member may see.
type seeing struct {
	sql    string
	scopes func(Actor) []any
}

func seeingOf[T any](n *Noun[T]) seeing {
	return seeing{"select " + n.name + ".id" + n.from + " where " + n.name + ".id = any($4::uuid[]) and " + n.sight.showed("$1") +
		" and $2::uuid is not null and $3::text is not null", n.sight.scopes}
}

// seen has the queries of the nouns whose titles not every member may read.
var seen = map[string]seeing{"project": seeingOf(Projects), "task": seeingOf(Tasks), "comment": seeingOf(Comments), "attachment": seeingOf(Attachments)}

// Hides tells whether the things of a noun have titles that not every member may read.
func Hides(noun string) bool { return seen[noun].sql != "" }

// Seen tells which things the actor may see, deleted ones too, of the nouns that hide some. ids are by noun.
func (p *Projections) Seen(ctx context.Context, by Actor, ids map[string][]uuid.UUID) (map[uuid.UUID]bool, error) {
	all, err := p.Titles(ctx, by, ids)
	sees := map[uuid.UUID]bool{}
	for id := range all {
		sees[id] = true
	}
	return sees, err
}

// Titles gives the things that Seen tells of, with their titles and keys.
func (p *Projections) Titles(ctx context.Context, by Actor, ids map[string][]uuid.UUID) (map[uuid.UUID]Thing, error) {
	var query []pg.Statement
	visible, called := map[string]*[]uuid.UUID{}, map[string]*[]calledRow{}
	for noun, see := range seen {
		if len(ids[noun]) == 0 {
			continue
		}
		visible[noun], called[noun] = new([]uuid.UUID), new([]calledRow)
		query = append(query, pg.Column(visible[noun], see.sql, append(see.scopes(by), ids[noun])...), pg.Rows(called[noun], titled[noun], ids[noun])) //sqlcheck:allow made once, of constants
	}
	things := map[uuid.UUID]Thing{}
	if query == nil {
		return things, nil
	}
	mark, err := p.Fresh(ctx, by.Workspace, query...)
	if err == nil && mark.Behind() > 0 { // the missing events may change what the actor sees
		err = catchingUp(mark)
	}
	for noun, rows := range called {
		for _, row := range *rows {
			if slices.Contains(*visible[noun], row.ID) {
				things[row.ID] = Thing{Noun: noun, ID: row.ID, Title: row.Title, Key: row.Key}
			}
		}
	}
	return things, err
}
