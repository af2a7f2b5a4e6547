package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A process of Postgres may refuse a workspace that every other one accepts (roles_is_member_of in acl.c, seen on Postgres 15):
//
//  1. It lists the roles that its login may take. It does so anew after each sign-up, which takes 4 ms with 1,000 workspaces.
//  2. Another sign-up is committed meanwhile. Postgres drops the old list, and then keeps the one that it was making.
//  3. That list lacks the new workspace, until a membership changes once more.
//
// The table of memberships says whether a refusal is right, because the workspace is closed, or whether the process is out of date. A connection
// to a process that is out of date is closed, and the transaction, of which nothing has begun, takes another connection.

// isMember asks the table of memberships, which no list stands before.
const isMember = `select exists (select from pg_catalog.pg_auth_members m join pg_catalog.pg_roles r on r.oid = m.roleid join pg_catalog.pg_roles l on l.oid = m.member
	where r.rolname = $1 and l.rolname = session_user)`

// refused makes a closedError of Postgres' refusal to take a workspace's role: no login may take it, it has been dropped, or the process is out of
// date. It ends the transaction.
func refused(ctx context.Context, conn *pgx.Conn, role string, err error) error {
	if !Is(err, AccessDenied, NoSuchRole) {
		return err
	}
	refusal := closedError{error: fmt.Errorf("the workspace is closed: %w", err)}
	rollback(ctx, conn)
	var member bool
	if err := conn.QueryRow(ctx, isMember, role).Scan(&member); err == nil && member {
		_ = conn.Close(context.WithoutCancel(ctx)) // the error of a close changes nothing
		refusal.outdated = true
	}
	return refusal
}

// elsewhere tells whether err closed its connection and changed nothing: another connection may do. Work of several round trips goes on elsewhere
// only when nothing of it has been sent.
func elsewhere(err error, u use) bool {
	var refusal closedError
	var said *pgconn.PgError
	return errors.As(err, &refusal) && refusal.outdated || u != forWork && errors.As(err, &said) && planChanged(said)
}

// planChanged tells whether err refuses a prepared statement because the type of a column has changed since. Postgres refuses the statement as long as
// the connection lives, so the connection is closed.
func planChanged(err *pgconn.PgError) bool { return err.Routine == checksPlan }

// checksPlan is the function of Postgres that refuses such a statement: "cached plan must not change result type".
const checksPlan = "RevalidateCachedQuery"
