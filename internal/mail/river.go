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

// Schema is the schema of River's tables.
const Schema = "kluis_jobs"

// Config is the part of the configuration that all River clients of this program share; the caller adds queues and workers.
//
//   - River does no maintenance for which it would have to own the tables.
//   - Jobs that are done are deleted after an hour.
//   - A job that a killed process has left is tried again after three minutes, but not before its worker's Timeout: a code cannot wait for
//     River's usual hour.
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

// Migrate brings River's tables up to date. The owner will own them, and the login may use them. When there is nothing to do, it costs a few
// short queries. Several processes may run it at once. When it is killed half-way, the next run goes on where it stopped.
func Migrate(ctx context.Context, db *pg.DB) error {
	for more := true; more; {
		err := db.Admin(ctx, func(tx pgx.Tx) (err error) {
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, Schema); err != nil {
				return fmt.Errorf("wait for another process: %w", err)
			}
			if err := pg.CreateSchema(ctx, tx, Schema); err != nil {
				return err
			}
			if err := pg.BecomeOwner(ctx, tx, ""); err != nil {
				return err
			}
			more, err = advance(ctx, tx, db.Login())
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate jobs: %w", err)
		}
	}
	return nil
}

// advance does the next step of [Migrate] in a transaction of the owner. more tells whether there is another step, for which the caller commits
// and calls advance again in a new transaction. One transaction for all steps is impossible before Postgres 17, because step 6 uses
// a value that step 4 adds to an enum ("unsafe use of new value").
//
// Tables that a newer version of the program has migrated stay as they are, because River lets its version before go on with them.
func advance(ctx context.Context, tx pgx.Tx, login string) (more bool, err error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), &rivermigrate.Config{Schema: Schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return false, err
	}
	done, err := stepsDone(ctx, tx)
	if err != nil {
		return false, fmt.Errorf("count the steps that are done: %w", err)
	}
	left := len(migrator.AllVersions()) - done
	if left <= 0 {
		return false, grantOnce(ctx, tx, login)
	}
	one := &rivermigrate.MigrateOpts{MaxSteps: 1}
	if _, err := migrator.MigrateTx(ctx, tx, rivermigrate.DirectionUp, one); err != nil { //nolint:staticcheck // deprecated for more than one step
		return false, fmt.Errorf("step after %d: %w", done, err)
	}
	return left > 1, grant(ctx, tx, login)
}

// stepsDone counts the steps in the table. River's own count gives up when some of them are of a newer version.
func stepsDone(ctx context.Context, tx pgx.Tx) (n int, err error) {
	var begun bool
	err = tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, Schema+".river_migration").Scan(&begun)
	if err == nil && begun {
		err = tx.QueryRow(ctx, `SELECT count(*) FROM `+Schema+`.river_migration`).Scan(&n)
	}
	return n, err
}

// grantOnce grants when the login may not use the jobs yet. All grants are made in one transaction, so one of them stands for all.
func grantOnce(ctx context.Context, tx pgx.Tx, login string) error {
	var has bool
	if err := tx.QueryRow(ctx, `SELECT has_schema_privilege($1, $2, 'USAGE')`, login, Schema).Scan(&has); err != nil {
		return fmt.Errorf("look up the rights of the login: %w", err)
	}
	if has {
		return nil
	}
	return grant(ctx, tx, login)
}

// grant lets the login use everything in the schema, and own nothing of it.
func grant(ctx context.Context, tx pgx.Tx, login string) error {
	to := pgx.Identifier{login}.Sanitize()
	_, err := tx.Exec(ctx, `
		GRANT USAGE ON SCHEMA `+Schema+` TO `+to+`;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA `+Schema+` TO `+to+`;
		GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA `+Schema+` TO `+to+`;
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA `+Schema+` TO `+to)
	if err != nil {
		return fmt.Errorf("grant to the login: %w", err)
	}
	return nil
}
