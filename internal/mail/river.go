package mail

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/kluis-eu/kluis/internal/pg"
)

// Schema is where River's tables are.
const Schema = "kluis_jobs"

// Config is what every River client of this program needs, whatever its queues and workers, which the caller adds: the schema, and no
// maintenance that only an owner of the tables may do. Jobs that are done go after an hour. A job that a killed process left behind is
// tried again after three minutes, but not before its worker's Timeout: a code must not wait for River's usual hour.
func Config(log *slog.Logger) *river.Config {
	return &river.Config{
		Schema:                      Schema,
		Logger:                      log,
		FetchCooldown:               10 * time.Millisecond,
		CompletedJobRetentionPeriod: time.Hour,
		RescueStuckJobsAfter:        3 * time.Minute,
		ReindexerIndexNames:         []string{},
	}
}

// Migrate brings River's tables up to date. [pg.Owner] will own them, and the login may use them. With nothing to do it costs a few
// short queries. Several processes may run it at once; killed half-way, the next run goes on where it stopped.
func Migrate(ctx context.Context, db *pg.DB) error {
	for more := true; more; {
		err := db.Control(ctx, func(tx pgx.Tx) error {
			err := pg.Become(ctx, tx, pg.Owner, "")
			if err == nil {
				more, err = MigrateTx(ctx, tx)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// MigrateTx does the next step of [Migrate] in the caller's transaction, whose role will own what it makes, and says whether there is
// more to do: then commit, and call it again in a new transaction. One transaction for all steps is impossible before Postgres 17,
// because step 6 uses a value that step 4 adds to an enum ("unsafe use of new value").
//
// What a newer version of the program has migrated stays as it is: River keeps its tables such that the version before goes on.
func MigrateTx(ctx context.Context, tx pgx.Tx) (more bool, err error) {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, Schema); err != nil {
		return false, fmt.Errorf("migrate jobs: wait for another process: %w", err)
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), &rivermigrate.Config{Schema: Schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return false, fmt.Errorf("migrate jobs: %w", err)
	}
	done, err := stepsDone(ctx, tx)
	if err != nil {
		return false, fmt.Errorf("migrate jobs: which steps are done: %w", err)
	}
	left := len(migrator.AllVersions()) - done
	if left <= 0 {
		return false, grantOnce(ctx, tx)
	}
	if done == 0 {
		if err := createSchema(ctx, tx); err != nil {
			return false, err
		}
	}
	step := &rivermigrate.MigrateOpts{MaxSteps: 1}
	if _, err := migrator.MigrateTx(ctx, tx, rivermigrate.DirectionUp, step); err != nil { //nolint:staticcheck // deprecated for more than one step
		return false, fmt.Errorf("migrate jobs: step after %d: %w", done, err)
	}
	return left > 1, grant(ctx, tx)
}

// stepsDone counts River's steps, also those that this version does not know, at which River's own count gives up.
func stepsDone(ctx context.Context, tx pgx.Tx) (n int, err error) {
	var begun bool
	err = tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, Schema+".river_migration").Scan(&begun)
	if err == nil && begun {
		err = tx.QueryRow(ctx, `SELECT count(*) FROM `+Schema+`.river_migration`).Scan(&n)
	}
	return n, err
}

// createSchema makes the schema for the transaction's role, but as the login: only that may make schemas in the database.
func createSchema(ctx context.Context, tx pgx.Tx) error {
	var owner string
	if err := tx.QueryRow(ctx, `SELECT current_user::text`).Scan(&owner); err != nil {
		return fmt.Errorf("migrate jobs: %w", err)
	}
	return asLogin(ctx, tx, func() error {
		if _, err := tx.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+Schema+` AUTHORIZATION `+pgx.Identifier{owner}.Sanitize()); err != nil {
			return fmt.Errorf("migrate jobs: create schema (the login needs CREATE on the database): %w", err)
		}
		return nil
	})
}

// grantOnce grants when the login may not use the jobs yet. A grant is made whole or not at all, so one look is enough.
func grantOnce(ctx context.Context, tx pgx.Tx) error {
	var has bool
	if err := tx.QueryRow(ctx, `SELECT has_schema_privilege(session_user, $1, 'USAGE')`, Schema).Scan(&has); err != nil {
		return fmt.Errorf("migrate jobs: look up the login's rights: %w", err)
	}
	if has {
		return nil
	}
	return grant(ctx, tx)
}

// grant lets the login use everything in the schema and own nothing of it.
func grant(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `
		GRANT USAGE ON SCHEMA `+Schema+` TO SESSION_USER;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA `+Schema+` TO SESSION_USER;
		GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA `+Schema+` TO SESSION_USER;
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA `+Schema+` TO SESSION_USER`)
	if err != nil {
		return fmt.Errorf("migrate jobs: grant to the login: %w", err)
	}
	return nil
}
