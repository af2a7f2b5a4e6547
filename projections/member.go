package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

var membersStream, memberOf = inStream(domain.RosterStream, domain.MemberOf)

// Members is the read model of the members. Scope own reaches the member itself.
var Members = newNoun(
	newModel("member", membersStream, memberOf, (*domain.Member).Apply, func(m domain.Member) uuid.UUID { return m.ID }),
	Sight{Read: domain.ReadMember, Own: `member.id = $2`, Gone: `nullif(member.status <> 'removed', true)`},
	Lists{Filter: MemberFilter{}, Sorts: []Sorting{{Field: "created_at"}, {Field: "updated_at"}, {Field: "status", Values: domain.MemberStatuses}}})

// MemberFilter chooses members; a zero field chooses all. IDs are the members that a search has found, because names and addresses are sealed.
type MemberFilter struct {
	IDs    []uuid.UUID `among:"member.id"`
	Status []string    `among:"member.status"`
	Role   []string    `among:"member.role"`
	Since  *time.Time  `where:"member.updated_at >= @"`
}

const (
	memberColumns = `id, email, full_name, role, status, language, two_factor, hourly_rate_cents, erased_at, created_at, updated_at, version, position`
	selectMember  = `select ` + memberColumns + ` from member where id = $1 and status <> 'removed'`
	// ableAdmin is the condition for an active admin who can act. When the policy requires two factors of admins, the admin must have them on.
	ableAdmin  = `role = 'admin' and status = 'active' and (two_factor or not ` + askedRoles + ` && array['admin', 'all'])`
	loadMember = loadAnybody + ` and status <> 'removed'`
	// loadAnybody is loadMember, including removed members.
	loadAnybody = `select ` + memberColumns + `,
			$1 = 'all' or $1 = 'own' and id = $2 as visible,
			(select count(*) from member where ` + ableAdmin + ` and id <> $3) as other_admins,
			` + askedRoles + ` as two_factor_roles,
			role_name, role_grants
		from member left join lateral (select name as role_name, grants as role_grants from role as own
			where own.id = case when length(member.role) = 36 then member.role::uuid end) as own on true
		where id = $3`
)

// GetSelf answers with the actor's own membership. Every role may read it.
func (p *Projections) GetSelf(ctx context.Context, by Actor) (domain.Member, Mark, error) {
	return get[domain.Member](ctx, p, by.Workspace, "member", selectMember, by.Member)
}

// MemberRow is a member with the facts that a decision on the member needs.
type MemberRow struct {
	domain.Member
	Visible        bool
	OtherAdmins    int      // active admins besides this member who can act
	TwoFactorRoles []string // the roles of which the policy requires two factors
	RoleName       *string  // the name of an own role; nil for a built-in one
	RoleGrants     domain.Grants
}

// Held gives the role of the member.
func (m MemberRow) Held() domain.Role {
	role, _ := roleOfMember(m.Role, m.RoleName, m.RoleGrants)
	return role
}

// RequiresTwoFactor tells whether the policy requires two factors of the member's role.
func (m MemberRow) RequiresTwoFactor() bool {
	return domain.Policy{TwoFactorRoles: m.TwoFactorRoles}.RequiresTwoFactor(m.Role)
}

// CountEnrolledAdmins is the query for how many active admins have two factors on.
func CountEnrolledAdmins(into *int) pg.Statement {
	return pg.Exec(`select count(*) from member where role = 'admin' and status = 'active' and two_factor`).Scan(into)
}

// LoadMember is the query for a decision on a member.
func LoadMember(into *[]MemberRow, by Actor, id uuid.UUID) pg.Statement {
	return pg.Rows(into, loadMember, by.Scope(domain.ReadMember), by.Member, id)
}

// LoadAnybody is LoadMember, including members who were removed or erased.
func LoadAnybody(into *[]MemberRow, by Actor, id uuid.UUID) pg.Statement {
	return pg.Rows(into, loadAnybody, by.Scope(domain.ReadMember), by.Member, id)
}

// MembersByEmail is the query for the member with an address, by its keyed hash. There is one at most, because an invitation guards the roster on
// which it is decided.
func MembersByEmail(into *[]domain.Member, hash string) pg.Statement {
	return pg.Rows(into, `select `+memberColumns+` from member where id = (select member_id from member_email where hash = $1) and status <> 'removed'`, hash)
}

// A command may name the actor or a member whom the actor may see. Any other member is treated as unknown.
var (
	nameable        = `(` + Members.sight.visible("$1") + ` or member.id = $2)`
	membersOf       = `select id from member where ` + nameable + ` and id = any($3)`
	assignable      = membersOf + ` and status in ('active', 'invited', 'placeholder')`
	mentionable     = membersOf + ` and status <> 'removed' order by array_position($3::uuid[], id)`
	countNamed      = `select count(*) from (` + membersOf + `) as named`
	countAssignable = `select count(*) from (` + assignable + `) as able`
)

// CountMembers is the query for how many of ids are or were members.
func CountMembers(into *int, by Actor, ids []uuid.UUID) pg.Statement {
	return pg.Exec(countNamed, by.Scope(domain.ReadMember), by.Member, ids).Scan(into) //sqlcheck:allow made once, of constants
}

// CountAssignable is the query for how many of ids are members to whom tasks can be assigned.
func CountAssignable(into *int, by Actor, ids []uuid.UUID) pg.Statement {
	return pg.Exec(countAssignable, by.Scope(domain.ReadMember), by.Member, ids).Scan(into) //sqlcheck:allow made once, of constants
}

// Assignable is the query for the ids of members to whom tasks can be assigned.
func Assignable(into *[]uuid.UUID, by Actor, ids []uuid.UUID) pg.Statement {
	return pg.Column(into, assignable, by.Scope(domain.ReadMember), by.Member, ids) //sqlcheck:allow made once, of constants
}

// Mentionable is the query for those of ids that are ids of members.
func Mentionable(into *[]uuid.UUID, by Actor, ids []uuid.UUID) pg.Statement {
	return pg.Column(into, mentionable, by.Scope(domain.ReadMember), by.Member, ids) //sqlcheck:allow made once, of constants
}

// MemberByID answers with a member, without a check of access, for Kluis itself.
func (p *Projections) MemberByID(ctx context.Context, w pg.Workspace, id uuid.UUID) (domain.Member, error) {
	m, _, err := get[domain.Member](ctx, p, w, "member", selectMember, id)
	return m, err
}
