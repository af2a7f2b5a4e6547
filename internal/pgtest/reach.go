package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kluis-eu/kluis/internal/pgserver"
)

// reach finds or starts the server and fills in how to get to it.
func (h *claim) reach(ctx context.Context) error {
	if admin := os.Getenv("KLUIS_TEST_DATABASE_URL"); admin != "" {
		h.admin = admin
		return h.makeLogin(ctx)
	}
	dir, err := folder()
	if err != nil {
		return err
	}
	settings := map[string]string{
		"max_connections": "300",   // several test programs, each with tests in parallel
		"log_checkpoints": "off",   // each dropped database makes one
		"max_wal_size":    "256MB", // what was written stays in memory until the next checkpoint: see scratch
		"min_wal_size":    "32MB",
	}
	if !fsync() { // it survives no crash of the machine, so a torn page is no concern of it either
		settings["fsync"], settings["full_page_writes"] = "off", "off"
	}
	// Unwatched: a goroutine that lasts would stand out in every test that looks for such.
	h.server, err = pgserver.Start(ctx, dir, pgserver.Options{Settings: settings, Unwatched: true})
	if err != nil {
		return fmt.Errorf("%w (there is nothing of value in %s: deleting it makes a new server)", err, dir)
	}
	h.admin = h.server.SuperuserURL("postgres")
	h.login = func(database string) (string, error) { return h.server.URL(database), nil }
	return h.oneLogin(ctx)
}

// oneLogin has the login make roles itself, so that a test needs one URL. Tests of two logins make them.
func (h *claim) oneLogin(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, h.admin)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `select pg_advisory_lock(hashtextextended('kluis test login', 0));
		do $$ begin if not (select rolcreaterole from pg_roles where rolname = 'kluis') then alter role kluis createrole; end if; end $$`)
	return err
}

func fsync() bool { return os.Getenv("KLUIS_TEST_FSYNC") == "on" }

// folder is where the shared server lives, and takes away those of earlier boots.
func folder() (string, error) {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // root's Postgres is another user
	}
	all := filepath.Join(scratch(), "kluis-test-"+strconv.Itoa(os.Geteuid()))
	if err := os.Mkdir(all, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(all) // the name is known to everybody, who might have been there before us
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is not a folder of ours alone (%v): take it away", all, info.Mode())
	}
	boot := boot()
	entries, err := os.ReadDir(all)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), boot) {
			if err := os.RemoveAll(filepath.Join(all, entry.Name())); err != nil {
				return "", err
			}
		}
	}
	boot += "-2" // a server with another set of logins has another number
	if fsync() {
		boot += "-fsync" // a running server keeps its settings
	}
	return filepath.Join(all, boot), nil
}

// boot is an id of this run of the kernel, where it tells one (Linux).
func boot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(id) < 8 {
		return "any"
	}
	return string(id[:8])
}

// makeLogin gives a server that is not ours the role kluis, with a password that each test program can work out and
// only who knows the superuser's can.
func (h *claim) makeLogin(ctx context.Context) error {
	admin, err := url.Parse(h.admin)
	if err != nil {
		return errors.New("KLUIS_TEST_DATABASE_URL cannot be parsed: expected postgres://superuser:password@host:port/database")
	}
	secret, _ := admin.User.Password()
	sum := sha256.Sum256([]byte("kluis test login " + secret))
	password := hex.EncodeToString(sum[:])
	h.login = func(database string) (string, error) {
		u := *admin
		u.User = url.UserPassword(pgserver.Login, password)
		return pgserver.WithDatabase(u.String(), database)
	}
	conn, err := pgx.Connect(ctx, h.admin)
	if err != nil {
		return fmt.Errorf("KLUIS_TEST_DATABASE_URL: %w", err)
	}
	defer conn.Close(ctx)
	if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return createLogin(ctx, tx, password) }); err != nil {
		return fmt.Errorf("KLUIS_TEST_DATABASE_URL: make the login: %w", err)
	}
	return h.tryLogin(ctx)
}

func createLogin(ctx context.Context, tx pgx.Tx, password string) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('kluis test login', 0))`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `select set_config('kluis.password', $1, true)`, password); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `do $$ begin
		if not exists (select from pg_roles where rolname = 'kluis') then
			execute format('create role kluis login nosuperuser createrole nocreatedb noinherit noreplication nobypassrls password %L',
				current_setting('kluis.password'));
		end if;
	end $$`)
	return err
}

// tryLogin sees that a role kluis that was there before has our password.
func (h *claim) tryLogin(ctx context.Context) error {
	database := "postgres"
	address, err := h.login(database)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, address)
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code == "42501" {
		return nil // known, and not let into that database
	}
	if err != nil {
		return fmt.Errorf("KLUIS_TEST_DATABASE_URL: the server has a role kluis that is not of these tests; use a server for tests only: %w", err)
	}
	return conn.Close(ctx)
}
