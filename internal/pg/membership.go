package pg

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/time/rate"
)

// A process of Postgres may refuse a workspace that every other one accepts (roles_is_member_of in acl.c, seen on Postgres 15):
//
//  1. It lists the roles that its login may take. It does so anew after each sign-up, which takes 4 ms with 1,000 workspaces.
//  2. Another sign-up is committed meanwhile. Postgres drops the old list, and then keeps the one that it was making.
//  3. That list lacks the new workspace, until a membership changes once more.
//
// So a connection that refuses a role is closed, and a transaction of which nothing has begun takes another connection. Most refusals
// are right, because the workspace is closed. So only a few connections are closed in a time, and then the refusal stands.
func (db *DB) closesOn(err *pgconn.PgError) bool {
	return err.Code == AccessDenied && err.Routine == refusesRole && !db.pooler && db.refusals.Allow()
}

// refusesRole is the function of Postgres that refuses a role, for SET ROLE and for set_config.
const refusesRole = "call_string_check_hook"

// newRefusals limits how many connections are closed for a refusal: fewer at once than a transaction has tries.
func newRefusals() *rate.Limiter { return rate.NewLimiter(rate.Every(5*time.Second), laneConns) }

// elsewhere tells whether err closed its connection and changed nothing: another connection may do.
func elsewhere(err error) bool {
	var refused closedError
	var said *pgconn.PgError
	return errors.As(err, &refused) && refused.gone || errors.As(err, &said) && outdated(said)
}

// outdated tells whether err refuses a prepared statement because the type of a column has changed since. Postgres refuses the statement as long as
// the connection lives, so the connection is closed.
func outdated(err *pgconn.PgError) bool { return err.Routine == checksPlan }

// checksPlan is the function of Postgres that refuses such a statement: "cached plan must not change result type".
const checksPlan = "RevalidateCachedQuery"
