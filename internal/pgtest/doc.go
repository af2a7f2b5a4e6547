// Package pgtest gives tests a real Postgres: a database each, in a few hundredths of a second.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestAppend(t *testing.T) {
//		t.Parallel()
//		url := pgtest.Clone(t, "migrated", migrate) // or pgtest.Database(t), which is empty
//		...
//	}
//
// One server serves all test programs of a `go test ./...`, and of others that this user runs meanwhile. It lives in
// kluis-test-<uid>/<boot>, in memory where there is room, or in TMPDIR when that is set (scratch.go); see internal/pgserver
// for its files and locks. The first program that asks for a database starts it, the last one that ends stops it. A run
// that is killed, interrupted or timed out leaves it running; the next run finds it, uses it, drops the databases that
// have no owner any more, and stops it. The folder of
// an earlier boot is deleted, since what fsync=off wrote before a power cut is worth nothing.
//
// Who owns a database is said by an advisory lock and not by a process id: names are kluis_test_<holder>_<n>, and
// every program holds, on one connection of its own, the lock of each holder it uses: its own alone, that of
// a template shared. A holder whose lock can be had is gone, and so are its databases at the next sweep.
//
// fsync is off, which makes making databases cheaper by half or more, unless KLUIS_TEST_FSYNC=on. Tests that kill
// kluis or Postgres with SIGKILL mean the same either way: what was written is in the kernel's page cache, which
// outlives every process; fsync is against the loss of power only. synchronous_commit stays on, so a commit that was
// answered was written before.
//
// KLUIS_TEST_DATABASE_URL, the URL of a superuser, makes the tests use that server instead: for another version of
// Postgres, or for Citus. It gets a role kluis; it should be a server for tests.
//
// Roles belong to the whole server. When a database is dropped, so are the workspace roles (ws_...) that had something
// in it and have nothing elsewhere.
package pgtest
