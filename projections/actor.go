package projections

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/limit"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Actor is the caller: an active member, with the role that the roster gave at version Roster.
type Actor struct {
	Workspace pg.Workspace
	Slug      string // the short name of the workspace, for the log of requests; empty before the read models have it
	Member    uuid.UUID
	Role      domain.Role      // with the grants in force
	Granted   domain.Grants    // the grants of the role, before an API token, or two factors that are required and not on, limit them
	Roster    int              // the version of the roster, which commands guard: with another version, Role may be another
	Epoch     int              // the epoch of the log in which the roster had that version
	TwoFactor domain.TwoFactor // a member who must enrol has a role without grants
	Session   uuid.UUID        // the session of the request; uuid.Nil with an API token
	Token     uuid.UUID        // the personal API token of the request; uuid.Nil with a session
	Quota     limit.Quota      // the rest of the member's limit on requests
}

// Scope gives how far the actor's role reaches for p.
func (a Actor) Scope(p domain.Permission) domain.Scope { return a.Role.Grants.Scope(p) }

// The limits of a session: from its last use, and from its beginning.
const (
	SessionIdle = 12 * time.Hour
	SessionLife = 7 * 24 * time.Hour
	touchAfter  = time.Minute // the precision of the last use
)

// Good is the condition that the session or token with the id @ has not ended.
var Good = fmt.Sprintf(`(exists (select from session where session.id = @ and expires_at > now() and used_at > now() - interval '%d seconds')
	or exists (select from token_secret where token_id = @ and expires_at > now()))`, int(SessionIdle.Seconds()))

type actorRow struct {
	Session uuid.UUID
	Token   uuid.UUID
	Grants  domain.Grants // of the token; for a session, all grants of the role
	Member  uuid.UUID
	Role    string
	Status  string
	Touch   bool

	RoleName   *string // of an own role
	RoleGrants domain.Grants

	TwoFactor      bool
	TwoFactorRoles []string // the roles of which the policy requires them

	Slug string // of the workspace
}

// shownBy is the SQL that finds an actor by a kind of token, and the SQL that notes the last use of the token.
type shownBy struct {
	sql   string
	args  []any
	touch string // for the id
	id    func(Actor) uuid.UUID
}

func bySession(digest [32]byte) shownBy {
	return shownBy{sql: `select s.id as session, ` + noToken + `, m.id as member, m.role, m.status, r.name as role_name, r.grants as role_grants, ` + secondFactor + `, s.used_at < now() - make_interval(secs => $2) as touch
		from session s join member m on m.id = s.member_id` + ofMember + `
		where s.digest = $1 and s.expires_at > now() and s.used_at > now() - make_interval(secs => $3)`,
		args:  []any{digest[:], touchAfter.Seconds(), SessionIdle.Seconds()},
		touch: `update session set used_at = now() where id = $1`, id: func(a Actor) uuid.UUID { return a.Session }}
}

func byTokenDigest(digest [32]byte) shownBy {
	return shownBy{sql: byToken + `t.digest = $1`, args: []any{digest[:], touchAfter.Seconds()},
		touch: `update token_secret set used_at = now() where token_id = $1`, id: func(a Actor) uuid.UUID { return a.Token }}
}

// BySession finds the actor with a session token of this digest. It gives nil when the session is unknown or has ended, or when the member
// is not active. The roster is fresh.
func (p *Projections) BySession(ctx context.Context, w pg.Workspace, digest [32]byte) (*Actor, error) {
	return p.actorByDigest(ctx, w, digest, bySession(digest))
}

// actorByDigest finds the actor with a token, remembers the actor (see Claim), and notes the last use.
func (p *Projections) actorByDigest(ctx context.Context, w pg.Workspace, digest [32]byte, by shownBy) (*Actor, error) {
	actor, row, err := p.actor(ctx, w, by.sql, by.args...)
	if err != nil || actor == nil {
		return nil, err
	}
	p.knowns.keep(digest, &known{*actor, row, by, time.Now()})
	if !row.Touch {
		return actor, nil
	}
	return actor, p.touch(ctx, w, by.touch, by.id(*actor)) //sqlcheck:allow one of the two above
}

// touch notes a last use. When nothing can be written at the moment, it notes nothing, so that reading goes on.
func (p *Projections) touch(ctx context.Context, w pg.Workspace, sql string, id uuid.UUID) error {
	err := p.db.Do(ctx, w, pg.Exec(sql, id))
	if _, outage := pg.OutageOf(err); outage {
		return nil
	}
	return err
}

const (
	noSession = `'00000000-0000-0000-0000-000000000000'::uuid as session`
	noToken   = `'00000000-0000-0000-0000-000000000000'::uuid as token, null::jsonb as grants`
	byToken   = `select '00000000-0000-0000-0000-000000000000'::uuid as session, t.token_id as token, t.grants, m.id as member, m.role, m.status, r.name as role_name, r.grants as role_grants, ` + secondFactor + `,
			t.used_at is null or t.used_at < now() - make_interval(secs => $2) as touch
		from token_secret t join member m on m.id = t.member_id` + ofMember + `where t.expires_at > now() and `
)

// ByToken finds the actor with a personal API token of this digest. It gives nil when the token is unknown, was revoked or has expired, or
// when the member is not active. It depends on the roster and on no other read model, so it is never stale.
func (p *Projections) ByToken(ctx context.Context, w pg.Workspace, digest [32]byte) (*Actor, error) {
	return p.actorByDigest(ctx, w, digest, byTokenDigest(digest))
}

// Again reads the actor again, after the roster has moved. The result is nil when the member may no longer act, or when the session or token
// has ended.
func (p *Projections) Again(ctx context.Context, a Actor) (*Actor, error) {
	if a.Token != uuid.Nil {
		actor, _, err := p.actor(ctx, a.Workspace, byToken+`t.token_id = $1`, a.Token, touchAfter.Seconds())
		return actor, err
	}
	actor, _, err := p.actor(ctx, a.Workspace, `select s.id as session, `+noToken+`, m.id as member, m.role, m.status, r.name as role_name, r.grants as role_grants, `+secondFactor+`, false as touch
		from member m join session s on s.member_id = m.id`+ofMember+`
		where s.id = $1 and s.expires_at > now() and s.used_at > now() - make_interval(secs => $2)`, a.Session, SessionIdle.Seconds())
	return actor, err
}

func (p *Projections) actor(ctx context.Context, w pg.Workspace, sql string, args ...any) (*Actor, actorRow, error) {
	var rows []actorRow
	mark, err := p.freshRoster(ctx, w, pg.Rows(&rows, sql, args...).Light())
	if err != nil || len(rows) == 0 || rows[0].Status != domain.Active {
		return nil, actorRow{}, err
	}
	role, known := roleOfMember(rows[0].Role, rows[0].RoleName, rows[0].RoleGrants)
	if !known {
		return nil, actorRow{}, nil // a deleted role grants nothing
	}
	actor := &Actor{Workspace: w, Slug: rows[0].Slug, Member: rows[0].Member, Role: role, Granted: role.Grants, Roster: mark.Roster, Epoch: mark.Epoch, TwoFactor: rows[0].twoFactor(),
		Session: rows[0].Session, Token: rows[0].Token}
	if actor.TwoFactor.MustEnrol() {
		actor.Role.Grants = domain.Grants{}
	}
	if actor.Token != uuid.Nil {
		actor.Role.Grants = rows[0].Grants.Intersect(actor.Role.Grants)
	}
	return actor, rows[0], nil
}

// Alive is the query for whether the session or token of the actor is still good. It is true for a newcomer, who has neither.
func Alive(into *bool, by Actor) pg.Statement {
	shown := by.Session
	if shown == uuid.Nil {
		shown = by.Token
	}
	return pg.Exec(isAlive, shown).Scan(into) //sqlcheck:allow made of constants
}

var isAlive = "select $1::uuid = " + nobody + " or " + strings.ReplaceAll(Good, "@", "$1")

// freshRoster is Fresh for a query that depends on the roster alone: it does not wait for other events.
func (p *Projections) freshRoster(ctx context.Context, w pg.Workspace, query ...pg.Statement) (Mark, error) {
	mark, err := p.Read(ctx, w, query...)
	if err != nil || mark.Roster == mark.RosterHead {
		return mark, err
	}
	return p.Fresh(ctx, w, query...)
}

// Newcomer gives the actor for an invited member, who may only join.
func (p *Projections) Newcomer(ctx context.Context, w pg.Workspace, member uuid.UUID) (*Actor, error) {
	mark, err := p.freshRoster(ctx, w)
	return &Actor{Workspace: w, Member: member, Roster: mark.Roster}, err
}

// Operator gives the actor for a command of the operator of Kluis. The actor is no member and has the grants of an admin.
func (p *Projections) Operator(ctx context.Context, w pg.Workspace) (*Actor, error) {
	mark, err := p.freshRoster(ctx, w)
	return &Actor{Workspace: w, Role: domain.Role{Name: "operator", Grants: domain.GrantsOf(domain.Admin)}, Roster: mark.Roster}, err
}

// Standing reads an actor again, for work that goes on after the session that began it has ended. An API token must still be good. The result
// is nil when the member is not active.
func (p *Projections) Standing(ctx context.Context, a Actor) (*Actor, error) {
	if a.Token != uuid.Nil {
		return p.Again(ctx, a)
	}
	actor, _, err := p.actor(ctx, a.Workspace, `select `+noSession+`, `+noToken+`, m.id as member, m.role, m.status, r.name as role_name, r.grants as role_grants, `+secondFactor+`, false as touch
		from member m`+ofMember+` where m.id = $1`, a.Member)
	return actor, err
}

// Session is one of a member's sessions.
type Session struct {
	ID        uuid.UUID
	CreatedAt time.Time
	UsedAt    time.Time
	ExpiresAt time.Time
}

// ListSessions answers with the actor's own sessions that are still good, the newest first, and with one session beyond the limit when there
// is one.
func (p *Projections) ListSessions(ctx context.Context, by Actor, page Page) (sessions []Session, err error) {
	err = p.db.Read(ctx, by.Workspace, pg.Rows(&sessions, `select id, created_at, used_at, expires_at from session
		where member_id = $1 and expires_at > now() and used_at > now() - make_interval(secs => $2) and ($3::uuid is null or id < $3) order by id desc limit $4`,
		by.Member, SessionIdle.Seconds(), page.id(), page.Limit+1))
	return sessions, err
}
