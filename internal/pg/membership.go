package pg

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/time/rate"
)

// A process of Postgres may refuse a workspace that every other one takes (roles_is_member_of in acl.c, seen on Postgres 15):
//
//  1. It lists the roles that its login may take, which it does anew after each sign-up: 4 ms with 1,000 workspaces.
//  2. Another sign-up is committed in the middle. Postgres forgets the list of before, and then keeps the one that it was making.
//  3. That one lacks the new workspace, until a membership changes once more.
//
// So a connection that refuses a role is closed, and a transaction of which nothing has begun goes to another one. Most refusals
// are right, because a workspace is closed: so few connections are closed for that, and the last refusal stands.
func (db *DB) closesOn(err *pgconn.PgError) bool {
	return err.Code == AccessDenied && err.Routine == refusesRole && !db.pooler && db.refusals.Allow()
}

// refusesRole is the function of Postgres that says so: SET ROLE, and set_config of the role.
const refusesRole = "call_string_check_hook"

// newRefusals bounds the connections that are closed for a refusal: fewer at once than a transaction has tries.
func newRefusals() *rate.Limiter { return rate.NewLimiter(rate.Every(5*time.Second), laneConns) }

// elsewhere tells of a refusal that closed its connection, so that another may take the role.
func elsewhere(err error) bool {
	var refused closedError
	return errors.As(err, &refused) && refused.gone
}
