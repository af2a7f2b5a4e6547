package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// CreateDatabase makes a database that the superuser owns and that only the two logins may use. When the database exists, it gets the same
// rights again.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	return CreateDatabase(ctx, s.SuperuserURL(superuser), name, Admin)
}

// CreateDatabase makes a database on any server, given the URL of its superuser and the login that makes schemas. Only the logins may call
// set_config there, because with it an injected SELECT could take another role.
func CreateDatabase(ctx context.Context, superuserURL, name, admin string) error {
	if err := CloneDatabase(ctx, superuserURL, name, "template0", admin); err != nil {
		return err
	}
	there, err := WithDatabase(superuserURL, name)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, there)
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", name, err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `select pg_advisory_lock(hashtextextended('kluis rights', 0))`); err != nil {
		return fmt.Errorf("wait for other processes that make database %s: %w", name, err)
	}
	_, err = conn.Exec(ctx, `revoke all on schema public from public;
		revoke execute on function pg_catalog.set_config(text, text, boolean) from public;
		grant execute on function pg_catalog.set_config(text, text, boolean) to kluis;
		grant execute on function pg_catalog.set_config(text, text, boolean) to `+pgx.Identifier{admin}.Sanitize()+` with grant option`)
	if err != nil {
		return fmt.Errorf("close schema public and set_config of database %s: %w", name, err)
	}
	return nil
}

// CloneDatabase makes a database with the contents of template, to which nobody may be connected. The rights on the database itself are not
// part of the contents: they are set as CreateDatabase sets them.
func CloneDatabase(ctx context.Context, superuserURL, name, template, admin string) error {
	conn, err := pgx.Connect(ctx, superuserURL)
	if err != nil {
		return fmt.Errorf("connect to make database %s: %w", name, err)
	}
	defer conn.Close(ctx)
	// When two sessions change the rights of one database at once, one fails with "tuple concurrently updated".
	if _, err := conn.Exec(ctx, `select pg_advisory_lock(hashtextextended('kluis database ' || $1, 0))`, name); err != nil {
		return fmt.Errorf("wait for other processes that make database %s: %w", name, err)
	}
	quoted := pgx.Identifier{name}.Sanitize()
	_, err = conn.Exec(ctx, `create database `+quoted+` template `+pgx.Identifier{template}.Sanitize())
	var refusal *pgconn.PgError
	if err != nil && (!errors.As(err, &refusal) || refusal.Code != "42P04") { // duplicate_database
		return fmt.Errorf("make database %s from %s: %w", name, template, err)
	}
	if _, err := conn.Exec(ctx, `revoke all on database `+quoted+` from public`); err != nil {
		return fmt.Errorf("close database %s: %w", name, err)
	}
	if _, err := conn.Exec(ctx, `grant connect on database `+quoted+` to kluis; grant create on database `+quoted+` to `+pgx.Identifier{admin}.Sanitize()+`;
		grant connect on database `+quoted+` to `+pgx.Identifier{admin}.Sanitize()+` with grant option`); err != nil {
		return fmt.Errorf("open database %s to the logins: %w", name, err)
	}
	return nil
}

// WithDatabase returns a URL with another database in it.
func WithDatabase(address, name string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("a database URL cannot be parsed") // the parser's error could show the password
	}
	u.Path = "/" + name
	return u.String(), nil
}
