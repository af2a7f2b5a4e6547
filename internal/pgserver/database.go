package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// CreateDatabase makes a database that the superuser owns and that only the login may use; one that is there gets
// the same rights again.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	return CreateDatabase(ctx, s.SuperuserURL(superuser), name)
}

// CreateDatabase does so on any server, given its superuser's URL.
func CreateDatabase(ctx context.Context, superuserURL, name string) error {
	if err := CloneDatabase(ctx, superuserURL, name, "template0"); err != nil {
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
	if _, err := conn.Exec(ctx, `revoke all on schema public from public`); err != nil {
		return fmt.Errorf("close schema public of database %s: %w", name, err)
	}
	return nil
}

// CloneDatabase makes a database with what is in template, which nobody may be connected to. Rights on the database
// itself are not cloned: they are set as in CreateDatabase.
func CloneDatabase(ctx context.Context, superuserURL, name, template string) error {
	conn, err := pgx.Connect(ctx, superuserURL)
	if err != nil {
		return fmt.Errorf("connect to make database %s: %w", name, err)
	}
	defer conn.Close(ctx)
	// Two who change the rights of one database at once fail with "tuple concurrently updated".
	if _, err := conn.Exec(ctx, `select pg_advisory_lock(hashtextextended('kluis database ' || $1, 0))`, name); err != nil {
		return fmt.Errorf("wait for others who make database %s: %w", name, err)
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
	if _, err := conn.Exec(ctx, `grant create, connect, temporary on database `+quoted+` to kluis`); err != nil {
		return fmt.Errorf("open database %s to the login: %w", name, err)
	}
	return nil
}

// WithDatabase is a URL with another database in it.
func WithDatabase(address, name string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("a database URL cannot be parsed") // the parser's error would show the password
	}
	u.Path = "/" + name
	return u.String(), nil
}
