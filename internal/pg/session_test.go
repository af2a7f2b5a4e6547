package pg_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A database that does not hold every text is refused with a sentence, before anything is made in it.
func TestEncoding(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	admin := superuser(t, address)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/") + "_latin"
	if _, err := admin.Exec(t.Context(), `create database `+name+` encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = admin.Exec(context.Background(), `drop database `+name+` with (force)`) })
	u.Path = "/" + name
	db, err := pg.Open(t.Context(), u.String(), 2)
	if err == nil {
		db.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "LATIN1") || !strings.Contains(err.Error(), "ENCODING 'UTF8'") {
		t.Errorf("a database in LATIN1: %v", err)
	}
}

// Every transaction of ours has its end: whoever waits for a lock, sends nothing more, or asks for too much.
func TestNothingWaitsForEver(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	direct := open(t, address, 4)
	w := newWorkspace(t, direct)
	for name, db := range map[string]*pg.DB{"direct": direct, "pooled": open(t, pgtest.Bouncer(t, address, 1), 4)} {
		var lock, statement, idle string
		look := pg.Exec(`select current_setting('lock_timeout'), current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')`).
			Scan(&lock, &statement, &idle)
		if err := db.Do(t.Context(), w, look); err != nil {
			t.Fatal(err)
		}
		if lock != "5s" || statement != "30s" || idle != "5s" {
			t.Errorf("%s: lock %s, statement %s, idle %s", name, lock, statement, idle)
		}
	}
}

// A pooler that lets too few transactions be open at once would have them wait for each other: the start says what to set.
func TestCheckPooler(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	if err := open(t, address, 2).CheckPooler(t.Context()); err != nil {
		t.Errorf("without a pooler: %v", err)
	}
	err := open(t, pgtest.Bouncer(t, address, 1), 16).CheckPooler(t.Context())
	if err == nil || !strings.Contains(err.Error(), "default_pool_size") {
		t.Errorf("a pooler with one connection: %v", err)
	}
}
