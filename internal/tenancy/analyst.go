package tenancy

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// An analyst is a login of Postgres that may read the views of one workspace (migrations.Analytics) and nothing else. The views are in a schema
// beside the workspace's, which is made for its first analyst. Only the catalogue of Postgres has a list of analysts: a login is named
// after its workspace, so that no second list can disagree.

// Analyst is the login of an analyst.
type Analyst struct {
	Login     string
	Workspace string    // the slug
	Until     time.Time // when the password ends
	Open      bool      // false while the workspace is closed
}

// These limit what one analyst takes of the server. The timeouts are defaults of the session, against mistakes: the analyst may change them.
const (
	analystConnections = 4
	analystSettings    = `statement_timeout = '60s'; idle_in_transaction_session_timeout = '5min'; default_transaction_read_only = on`
)

// Errors of GrantAnalyst and RevokeAnalyst.
var (
	ErrAnalyst      = errors.New("no such analyst")
	ErrAnalystThere = errors.New("the workspace has an analyst of that name: revoke it first, or name another")
	ErrAnalystName  = errors.New("the name of an analyst has 1 to 16 of a to z and 0 to 9, such as a team or a tool")
)

var analystName = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

func viewsOf(workspace string) string { return workspace + "_views" }

// GrantAnalyst makes the login of an analyst of a workspace, and returns it with its password. The password ends at until.
func (t *Tenancy) GrantAnalyst(ctx context.Context, slug, name string, until time.Time) (login, password string, err error) {
	entry, err := t.BySlug(ctx, slug)
	if err != nil {
		return "", "", err
	}
	if !analystName.MatchString(name) {
		return "", "", ErrAnalystName
	}
	if entry.Status != active {
		return "", "", fmt.Errorf("workspace %q is %s", slug, entry.Status)
	}
	workspace := entry.Workspace().Schema()
	views := viewsOf(workspace)
	login, password = workspace+"_analyst_"+name, rand.Text()
	err = t.db.Admin(ctx, func(tx pgx.Tx) error {
		err := makeReader(ctx, tx, login, password, views, until)
		if pg.Is(err, "42710") {
			return ErrAnalystThere
		} else if err != nil {
			return err
		}
		if err := pg.CreateSchema(ctx, tx, views); err != nil {
			return err
		}
		if err := pg.BecomeOwner(ctx, tx, ""); err != nil {
			return err
		}
		if err := pg.LockStatus(ctx, tx, entry.Workspace()); err != nil { // or an erasure at the same moment would leave the login and the views
			return err
		}
		if err := t.makeViews(ctx, tx, workspace); err != nil {
			return err
		}
		return mayRead(ctx, tx, login, true)
	})
	if err != nil {
		return "", "", fmt.Errorf("make an analyst of workspace %q: %w", slug, err)
	}
	return login, password, nil
}

// makeReader makes a login that reads what it is granted, with path as its search_path, until its password ends. Postgres gets a verifier of the
// password (RFC 5803), and never the password, so that no log of Postgres has it.
func makeReader(ctx context.Context, tx pgx.Tx, login, password, path string, until time.Time) error {
	verifier, err := scram(password)
	if err != nil {
		return err
	}
	var sql strings.Builder
	fmt.Fprintf(&sql, "create role %s login noinherit connection limit %d valid until '%s' password '%s';", login, analystConnections, until.UTC().Format(time.RFC3339), verifier)
	for setting := range strings.SplitSeq(analystSettings+"; search_path = "+path, "; ") {
		fmt.Fprintf(&sql, "alter role %s set %s;", login, setting)
	}
	//sqlcheck:allow names that we made and a verifier of base64
	if _, err := tx.Exec(ctx, sql.String()); err != nil {
		return err
	}
	return letIn(ctx, tx, login)
}

// letIn lets a login connect to the database, where PUBLIC may not.
func letIn(ctx context.Context, tx pgx.Tx, login string) error {
	var may, open bool
	var admin, database string
	err := tx.QueryRow(ctx, `select has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION'), has_database_privilege($1, current_database(), 'CONNECT'),
		quote_ident(session_user), quote_ident(current_database())`, login).Scan(&may, &open, &admin, &database)
	if err != nil || open {
		return err
	}
	if !may {
		return fmt.Errorf("the login %[1]s may not let others connect to the database: as a superuser, run GRANT CONNECT ON DATABASE %[2]s TO %[1]s WITH GRANT OPTION", admin, database)
	}
	if err := lockConnect(ctx, tx); err != nil {
		return err
	}
	//sqlcheck:allow a quoted name, and one that we made
	_, err = tx.Exec(ctx, `grant connect on database `+database+` to `+login)
	return err
}

// dropReader drops a login that makeReader made, and to which nothing is granted any more but the right to connect.
func dropReader(ctx context.Context, tx pgx.Tx, login string) error {
	var database string
	if err := tx.QueryRow(ctx, `select quote_ident(current_database())`).Scan(&database); err != nil {
		return err
	}
	if err := lockConnect(ctx, tx); err != nil {
		return err
	}
	//sqlcheck:allow a login that the catalogue has, of names that we made
	_, err := tx.Exec(ctx, `revoke connect on database `+database+` from `+login+`; drop role `+login)
	return err
}

// lockConnect lets one transaction at a time change who may connect: of two at once, Postgres fails one.
func lockConnect(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('kluis'), hashtext('connect'))`)
	return err
}

// makeViews makes the views of a workspace, in place of the old ones. The default privileges of their schema grant them to the workspace's
// analysts. The transaction is the owner's; nothing else follows in it, because its search_path changes.
func (t *Tenancy) makeViews(ctx context.Context, tx pgx.Tx, workspace string) error {
	if err := dropViews(ctx, tx, workspace); err != nil {
		return err
	}
	views := viewsOf(workspace)
	//sqlcheck:allow the text of the program, a hash of it, and names that we made
	if _, err := tx.Exec(ctx, `set local search_path = `+views+`, `+workspace+`, pg_temp; `+t.Views+`; comment on schema `+views+` is '`+hashOf(t.Views)+`'`); err != nil {
		return fmt.Errorf("make the views of analysts: %w", err)
	}
	return nil
}

// dropViews drops the views of a workspace, if it has any. The transaction is the owner's.
func dropViews(ctx context.Context, tx pgx.Tx, workspace string) error {
	views := viewsOf(workspace)
	rows, _ := tx.Query(ctx, `select quote_ident(c.relname) from pg_depend d join pg_class c on c.oid = d.objid
		where d.refclassid = 'pg_namespace'::regclass and d.refobjid = to_regnamespace($1) and d.classid = 'pg_class'::regclass and c.relkind = 'v'`, views) // pg_class has no index by schema
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) == 0 {
		return err
	}
	//sqlcheck:allow names that we made or that Postgres quoted
	_, err = tx.Exec(ctx, `drop view `+views+"."+strings.Join(names, ", "+views+"."))
	return err
}

// hasViews tells whether a workspace has, or had, analysts.
func hasViews(ctx context.Context, tx pgx.Tx, workspace string) (has bool, err error) {
	err = tx.QueryRow(ctx, `select to_regnamespace($1) is not null`, viewsOf(workspace)).Scan(&has)
	return has, err
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// renewViews makes the views anew that another program has made, and those that went with the tables of a workspace that was restored.
func (t *Tenancy) renewViews(ctx context.Context) error {
	var stale []string
	err := t.db.Own(ctx, "", func(tx pgx.Tx) (err error) {
		rows, _ := tx.Query(ctx, `select left(nspname, 35) from pg_namespace n join kluis.workspace w on nspname = 'ws_' || replace(w.id::text, '-', '') || '_views'
			where w.version = $2 and w.status in ('active', 'closed') and (obj_description(n.oid, 'pg_namespace') is distinct from $1 or not exists (select from pg_class where relnamespace = n.oid))`, hashOf(t.Views), len(t.workspaceMigrations))
		stale, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	for _, workspace := range stale {
		err = errors.Join(err, t.retryLocked(ctx, func() error {
			return t.db.Own(ctx, "", func(tx pgx.Tx) error { return t.makeViews(ctx, tx, workspace) })
		}))
	}
	return err
}

// Analysts returns the analysts of all workspaces, ordered by slug and login.
func (t *Tenancy) Analysts(ctx context.Context) (analysts []Analyst, err error) {
	err = t.db.Control(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select r.rolname as login, w.slug as workspace, coalesce(r.rolvaliduntil, 'infinity') as until, coalesce(has_schema_privilege(r.oid, to_regnamespace(left(r.rolname, 35) || '_views'), 'USAGE'), false) as open
			from pg_roles r join kluis.workspace w on left(r.rolname, 44) = 'ws_' || replace(w.id::text, '-', '') || '_analyst_' order by w.slug, r.rolname`)
		if err != nil {
			return err
		}
		analysts, err = pgx.CollectRows(rows, pgx.RowToStructByName[Analyst])
		return err
	})
	return analysts, err
}

// RevokeAnalyst drops the login of an analyst.
//
//  1. What it may read is revoked: a session that is open reads nothing more.
//  2. The login is dropped. When the call is broken off before that, the login can do nothing, and the next call goes on here.
func (t *Tenancy) RevokeAnalyst(ctx context.Context, login string) error {
	all, err := t.Analysts(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(a Analyst) bool { return a.Login == login }) {
		return fmt.Errorf("%w: %q (kluis analyst list shows them)", ErrAnalyst, login)
	}
	err = t.db.Own(ctx, "", func(tx pgx.Tx) error {
		there, err := hasViews(ctx, tx, login[:35])
		if err != nil || !there {
			return err
		}
		return mayRead(ctx, tx, login, false)
	})
	if err == nil {
		err = t.db.Admin(ctx, func(tx pgx.Tx) error { return dropReader(ctx, tx, login) })
	}
	if err != nil && !pg.Is(err, "42704") { // not when another call has dropped it meanwhile
		return fmt.Errorf("revoke the analyst %s: %w", login, err)
	}
	return nil
}

// mayRead lets a login read the views of its workspace, or no longer. A revocation holds in sessions that are open, too, and for statements that
// were prepared before. The transaction is the owner's.
func mayRead(ctx context.Context, tx pgx.Tx, login string, may bool) error {
	verb, preposition, views := "grant", "to", viewsOf(login[:35])
	if !may {
		verb, preposition = "revoke", "from"
	}
	//sqlcheck:allow a login of names that we made
	_, err := tx.Exec(ctx, fmt.Sprintf(`%[1]s usage on schema %[3]s %[2]s %[4]s; %[1]s select on all tables in schema %[3]s %[2]s %[4]s;
		alter default privileges in schema %[3]s %[1]s select on tables %[2]s %[4]s`, verb, preposition, views, login))
	return err
}

// allMayRead is mayRead for all analysts of a workspace.
func allMayRead(ctx context.Context, tx pgx.Tx, workspace string, may bool) error {
	rows, _ := tx.Query(ctx, `select rolname::text from pg_roles where left(rolname, 44) = $1`, workspace+"_analyst_")
	logins, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, login := range logins {
		err = errors.Join(err, mayRead(ctx, tx, login, may))
	}
	return err
}

// scram returns the verifier that Postgres stores of a password: SCRAM-SHA-256 (RFC 5803), with as many iterations as Postgres itself does.
func scram(password string) (string, error) {
	const iterations = 4096
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(mac("Server Key"))), nil
}
