package projections

import (
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

var rolesStream, roleOf = inStream(domain.RosterStream, domain.RoleOf)

// Roles is the read model of the workspace's own roles. A list of roles also has the built-in ones, which have no times.
var Roles = newNoun(
	newModel("role", rolesStream, roleOf, (*domain.OwnRole).Apply, func(r domain.OwnRole) uuid.UUID { return r.ID }),
	Sight{Read: domain.ReadRole, Own: `false`, Gone: `role.deleted_at`},
	Lists{Sorts: []Sorting{{Field: "created_at", By: noTime}, {Field: "updated_at", By: noTime}, {Field: "name", By: byName}}})

const noTime = `coalesce(nullif(@, '0001-01-01T00:00:00Z'::timestamptz), 'infinity')`

// ofMember joins the own role r of a member m. The id of an own role is a UUID, which is longer than every name of a built-in role.
const ofMember = ` left join role as r on r.id = case when length(m.role) = 36 then m.role::uuid end and r.deleted_at is null `

// roleOfMember gives the role of a member. own is the name of an own role, nil for a built-in one, and grants are its grants. The result is false
// when there is no such role.
func roleOfMember(id string, own *string, grants domain.Grants) (domain.Role, bool) {
	if role, builtIn := domain.BuiltInRole(id); builtIn {
		return role, true
	}
	if own == nil {
		return domain.Role{}, false
	}
	return domain.Role{ID: id, Name: *own, Grants: grants}, true
}

// FindRole is the query for the own role with an id. It finds nothing for the name of a built-in role.
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

// FindRoleName is the query for whether an own role other than id has a name, and for the number of own roles.
func FindRoleName(into *domain.RoleNames, id uuid.UUID, key string) pg.Statement {
	return pg.Exec(`select exists (select from role where name_key = $2 and id <> $1 and deleted_at is null), (select count(*) from role where deleted_at is null)`,
		id, key).Scan(&into.Taken, &into.Roles)
}

// CountHolders is the query for how many members have a role, including invited and deactivated ones.
func CountHolders(into *int, id uuid.UUID) pg.Statement {
	return pg.Exec(`select count(*) from member where role = $1::text and status <> 'removed'`, id.String()).Scan(into)
}
