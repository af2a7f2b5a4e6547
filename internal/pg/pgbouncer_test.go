package pg_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// bouncer starts a PgBouncer in transaction mode with one connection to the server, and gives the database's URL
// through it.
func bouncer(t *testing.T, address string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Skip("pgbouncer is not installed: apt-get install pgbouncer")
		}
	}
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kluis-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command(program, filepath.Join(dir, "ini"))
	uid := os.Geteuid()
	if info, err := os.Stat(config.Host); err == nil && uid == 0 { // it refuses root; who may reach the socket is its owner
		st := info.Sys().(*syscall.Stat_t)
		uid = int(st.Uid)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	for name, text := range map[string]string{
		"users": fmt.Sprintf("%q %q\n", config.User, config.Password),
		"ini": fmt.Sprintf("[databases]\n* = host=%s port=%d\n[pgbouncer]\nlisten_addr =\nlisten_port = 5432\nunix_socket_dir = %s\n"+
			"auth_type = plain\nauth_file = %s/users\npool_mode = transaction\ndefault_pool_size = 1\nmax_client_conn = 200\n"+
			"server_reset_query =\n", config.Host, config.Port, dir, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, name), uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, ".s.PGSQL.5432")); err == nil {
			break
		}
		if time.Now().After(end) {
			_, _ = cmd.Process.Kill(), cmd.Wait()
			t.Fatalf("pgbouncer does not come up: %s", said.String())
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = url.Values{"host": {dir}, "port": {"5432"}}.Encode()
	return u.String()
}

// Behind PgBouncer in transaction mode, all workers of two workspaces share one connection to the server, and a third
// of their transactions fail in one way or another. Nobody ever sees, or writes, a row of the other.
// The URL is a plain one: Open finds out what is at the other end.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	direct := newDatabase(t)
	setup := open(t, direct, 2)
	workspaces := []pg.Workspace{newWorkspace(t, setup), newWorkspace(t, setup)}
	db := open(t, bouncer(t, direct), 16)
	var stored [2]atomic.Int64
	var failed, done atomic.Int64
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for round := range 90 {
				own := (worker + round) % 2
				good, err := oneOf(db, workspaces[own], worker*60+round)
				switch {
				case err != nil:
					t.Errorf("worker %d, round %d: %v", worker, round, err)
					return
				case good:
					stored[own].Add(1)
					done.Add(1)
				default:
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i, w := range workspaces {
		if n, want := keys(t, setup, w), 1+int(stored[i].Load()); n != want {
			t.Errorf("workspace %d has %d keys, want %d", i, n, want)
		}
	}
	if failed.Load() < done.Load()/3 {
		t.Errorf("%d done, only %d failed", done.Load(), failed.Load())
	}
	admin := superuser(t, direct)
	var backends int
	if err := admin.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database()
		and backend_type = 'client backend' and pid <> pg_backend_pid()`).Scan(&backends); err != nil {
		t.Fatal(err)
	}
	if backends > 1+2 { // PgBouncer's one and those of setup
		t.Errorf("%d connections: PgBouncer did not pool", backends)
	}
}

// oneOf does one of several kinds of transaction, of which a third fail, and checks whose rows it sees. good: it has
// stored one key.
func oneOf(db *pg.DB, w pg.Workspace, kind int) (good bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var id uuid.UUID
	check := func(err error) error {
		if err == nil && id != w.ID {
			err = fmt.Errorf("workspace %s sees the row of %s", w.ID, id)
		}
		return err
	}
	insert := func() pg.Statement { return insertKey(uuid.Must(uuid.NewV7())) }
	switch kind % 9 {
	case 0, 1:
		return true, check(db.Do(ctx, w, owner(&id), insert()))
	case 2:
		return true, check(db.In(ctx, w, func(tx *pg.Tx) error {
			if err := check(tx.Run(ctx, owner(&id))); err != nil {
				return err
			}
			return tx.Commit(ctx, insert(), owner(&id))
		}))
	case 3, 4:
		return false, check(db.Read(ctx, w, owner(&id)))
	case 5:
		if err := db.Do(ctx, w, owner(&id), insert(), insertKey(w.ID)); !pg.Is(err, pg.UniqueViolation) {
			return false, fmt.Errorf("a duplicate key: %w", err)
		}
		return false, check(nil)
	case 6:
		err := db.In(ctx, w, func(tx *pg.Tx) error { return errors.Join(check(tx.Run(ctx, owner(&id), insert())), errOurs) })
		if !errors.Is(err, errOurs) {
			return false, fmt.Errorf("an error of ours: %w", err)
		}
		return false, check(nil)
	case 7:
		short, cancel := context.WithTimeout(ctx, time.Duration(1+kind%5)*time.Millisecond)
		defer cancel()
		err := db.Do(short, w, owner(&id), pg.Exec(`select pg_sleep(0.02)`))
		if err == nil {
			return false, errors.New("no error although it was cancelled")
		}
		return false, nil
	default:
		if err := db.Do(ctx, w, pg.Exec(`select no_such_column from data_key`)); !pg.Is(err, "42703") {
			return false, fmt.Errorf("a broken statement: %w", err)
		}
		return false, nil
	}
}
