package pgtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bouncer starts a PgBouncer in transaction mode with so many connections to the server, and gives the database's URL through
// it. The test is skipped where there is none.
func Bouncer(t testing.TB, address string, conns int) string {
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
	dir := TempDir(t)
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
			"auth_type = plain\nauth_file = %s/users\npool_mode = transaction\ndefault_pool_size = %d\nmax_client_conn = 200\n"+
			"server_reset_query =\n", config.Host, config.Port, dir, dir, conns),
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
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.5432")); err == nil { // the file is there before anybody listens
			conn.Close()
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
