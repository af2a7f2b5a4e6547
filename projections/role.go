package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

var rolesStream, roleOf = inStream(domain.RosterStream, domain.RoleOf)

// Roles is the read model of the workspace's own roles. A list of roles has the built-in ones, too, which have no times.
var Roles = newNoun(
	newModel("role", rolesStream, roleOf, (*domain.OwnRole).Apply, func(r domain.OwnRole) uuid.UUID { return r.ID }),
	Sight{Read: domain.ReadRole, Own: `false`, Gone: `role.deleted_at`},
	Lists{Sorts: []Sorting{{Field: "created_at", By: noTime}, {Field: "updated_at", By: noTime}, {Field: "name", By: byName}}})

const noTime = `coalesce(nullif(@, '0001-01-01T00:00:00Z'::timestamptz), 'infinity')`

// ofMember joins the own role, as r, of a member m whose role is not built in: the id of such a one is a UUID, which no name of a
// built-in role is as long as.
const ofMember = ` left join role as r on r.id = case when length(m.role) = 36 then m.role::uuid end and r.deleted_at is null `

// roleOfMember is the role of a member, of which own is the name and the grants when it is an own one; false when it is not there.
func roleOfMember(id string, own *string, grants domain.Grants) (domain.Role, bool) {
	if role, builtIn := domain.BuiltInRole(id); builtIn {
		return role, true
	}
	if own == nil {
		return domain.Role{}, false
	}
	return domain.Role{ID: id, Name: *own, Grants: grants}, true
}

// FindRole is the query for the own role with an id. A built-in role is not looked up: nothing is found.
func FindRole(into *[]domain.OwnRole, id string) pg.Statement {
	own, _ := uuid.Parse(id)
	//sqlcheck:allow made once, of the names in our own struct
	return pg.Rows(into, findRole, []uuid.UUID{own})
}

var findRole = Roles.selects + ` and deleted_at is null`

// RoleIDs is the query for the ids of the workspace's own roles.
func RoleIDs(into *[]string) pg.Statement {
	return pg.Column(into, `select id::text from role where deleted_at is null`)
}

// FindRoleName is the query for whether an own role other than id has a name, and for how many there are.
func FindRoleName(into *domain.RoleNames, id uuid.UUID, key string) pg.Statement {
	return pg.Exec(`select exists (select from role where name_key = $2 and id <> $1 and deleted_at is null), (select count(*) from role where deleted_at is null)`,
		id, key).Scan(&into.Taken, &into.Roles)
}

// CountHolders is the query for how many members have a role, those who are invited or deactivated among them.
func CountHolders(into *int, id uuid.UUID) pg.Statement {
	return pg.Exec(`select count(*) from member where role = $1::text and status <> 'removed'`, id.String()).Scan(into)
}
