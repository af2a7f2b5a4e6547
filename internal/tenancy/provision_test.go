package tenancy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
)

func TestProvision(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db, admin := open(t, url, 2), superuser(t, url)
	d := directory(t, db)
	w := pg.Workspace{ID: uuid.Must(uuid.NewV7())}
	who := func(into *[]string) func(pgx.Tx) error {
		return func(tx pgx.Tx) error {
			var user, path string
			err := tx.QueryRow(minute(t), `select current_user, current_setting('search_path')`).Scan(&user, &path)
			*into = []string{user, path}
			return err
		}
	}
	var found, after []string
	if err := d.Provision(minute(t), w.ID, "acme", "be", who(&found), who(&after)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(found, []string{ownerOf(t, admin), w.Schema() + ", pg_temp"}) || after[0] != found[0] || strings.Contains(after[1], "ws_") {
		t.Errorf("found ran as %v, after as %v", found, after)
	}
	p := partsOf(t, admin, w)
	if !p.Row || !p.Role || !p.Schema || p.Tables < 5 {
		t.Errorf("%+v", p)
	}
	entry, err := d.BySlug(minute(t), "acme")
	if err != nil || entry.Workspace() != w || entry.Region != "be" || entry.Status != "active" || entry.Version == 0 {
		t.Errorf("%+v, %v", entry, err)
	}
	if _, err := d.BySlug(minute(t), "other"); !errors.Is(err, tenancy.ErrUnknown) {
		t.Errorf("an unknown slug: %v", err)
	}
}

// Whatever fails, nothing of the workspace stays; and only a slug that is taken is said to be one.
func TestProvisionFails(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db, admin := open(t, url, 2), superuser(t, url)
	d := directory(t, db)
	there := provision(t, d)
	fails := func(sql string) func(pgx.Tx) error {
		return func(tx pgx.Tx) error { _, err := tx.Exec(context.Background(), sql); return err }
	}
	ours := errors.New("ours")
	for name, c := range map[string]struct {
		slug         string
		found, after func(pgx.Tx) error
		want         error
	}{
		"the slug is taken":                    {slug: "w-" + there.ID.String(), found: noop, after: noop, want: tenancy.ErrSlugTaken},
		"found fails":                          {slug: "one", found: func(pgx.Tx) error { return ours }, after: noop, want: ours},
		"after fails":                          {slug: "two", found: noop, after: func(pgx.Tx) error { return ours }, want: ours},
		"Postgres refuses what found does":     {slug: "three", found: fails(`select 1/0`), after: noop},
		"found violates a key":                 {slug: "four", found: fails(`insert into data_key select gen_random_uuid(), 'x' union all select subject, wrapped from data_key; insert into head (position, at) values (1, now())`), after: noop},
		"found inserts twice":                  {slug: "five", found: fails(`insert into data_key values ('0192b6a0-0000-7000-8000-000000000000', 'x'), ('0192b6a0-0000-7000-8000-000000000000', 'y')`), after: noop},
		"after inserts a second directory row": {slug: "six", found: noop, after: fails(`insert into kluis.workspace (id, slug, region, status, version, hash) select id, slug || 'x', region, status, version, hash from kluis.workspace`)},
	} {
		w := pg.Workspace{ID: uuid.Must(uuid.NewV7())}
		err := d.Provision(minute(t), w.ID, c.slug, "be", c.found, c.after)
		switch {
		case err == nil || c.want != nil && !errors.Is(err, c.want):
			t.Errorf("%s: %v, want %v", name, err, c.want)
		case c.want == nil && errors.Is(err, tenancy.ErrSlugTaken):
			t.Errorf("%s: %v", name, err)
		}
		if p := partsOf(t, admin, w); p != (parts{}) {
			t.Errorf("%s: there is %+v", name, p)
		}
	}
}

// Neither a slug nor an id is used again, erased or not.
func TestSlugsAreNotReused(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	db, admin := open(t, url, 2), superuser(t, url)
	d := directory(t, db)
	w := provision(t, d)
	exec(t, admin, `update kluis.workspace set status = 'erased', slug = 'gone'; update kluis.place set slug = 'gone'`)
	if _, err := d.BySlug(minute(t), "gone"); !errors.Is(err, tenancy.ErrUnknown) {
		t.Errorf("an erased workspace by its slug: %v", err)
	}
	if taken, err := d.SlugTaken(minute(t), "gone"); err != nil || !taken {
		t.Errorf("the slug of an erased workspace: taken %v, %v", taken, err)
	}
	if entries, err := d.List(minute(t), 0); err != nil || len(entries) != 0 {
		t.Errorf("%d workspaces listed, %v", len(entries), err)
	}
	if err := d.Provision(minute(t), uuid.Must(uuid.NewV7()), "gone", "be", noop, noop); !errors.Is(err, tenancy.ErrSlugTaken) {
		t.Errorf("an erased workspace's slug again: %v", err)
	}
	if err := d.Provision(minute(t), w.ID, "new", "be", noop, noop); err == nil {
		t.Error("an id twice")
	}
	refused := db.Control(minute(t), func(tx pgx.Tx) error {
		_, err := tx.Exec(minute(t), `delete from kluis.workspace`)
		return err
	})
	if !pg.Is(refused, pg.AccessDenied) {
		t.Errorf("a directory row is deleted: %v", refused)
	}
}

// Killed anywhere, a workspace is whole or absent, and can be made then.
func TestProvisionKilled(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	admin, killer, steady := superuser(t, url), superuser(t, url), directory(t, open(t, url, 2))
	begun := time.Now()
	whole := partsOf(t, admin, provision(t, steady))
	took := time.Since(begun)
	absent := 0
	for round := range 30 {
		db := open(t, url, 1)
		ctx, cancel := context.WithCancel(minute(t))
		var pid int
		if err := db.Pool().QueryRow(ctx, `select pg_backend_pid()`).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		var kill sync.WaitGroup
		kill.Go(func() {
			time.Sleep(rand.N(took))
			if round%2 == 0 {
				cancel()
			} else if _, err := killer.Exec(context.Background(), `select pg_terminate_backend($1)`, pid); err != nil {
				t.Error(err)
			}
		})
		w, slug := pg.Workspace{ID: uuid.Must(uuid.NewV7())}, fmt.Sprintf("round-%d", round)
		begun := time.Now()
		err := directory(t, db).Provision(ctx, w.ID, slug, "be", noop, noop)
		if err == nil {
			took = min(took, time.Since(begun))
		}
		kill.Wait()
		cancel()
		db.Close()
		for ask[bool](t, admin, `select exists (select from pg_stat_activity where pid = $1)`, pid) { // it may be rolling back
			time.Sleep(time.Millisecond)
		}
		got := partsOf(t, admin, w)
		if got != whole && got != (parts{}) || err == nil && got != whole {
			t.Errorf("round %d: %+v after %v", round, got, err)
		}
		if got == (parts{}) {
			absent++
			if err := steady.Provision(minute(t), w.ID, slug, "be", noop, noop); err != nil || partsOf(t, admin, w) != whole {
				t.Errorf("round %d, again: %v", round, err)
			}
		}
	}
	t.Logf("%d of 30 were killed in time", absent)
	if absent < 5 {
		t.Errorf("only %d of 30 were killed in time", absent)
	}
}

// 16 want one slug, from two processes: one gets it. What the others had begun is gone.
func TestOneSlugOneWinner(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	admin := superuser(t, url)
	processes := []*tenancy.Tenancy{directory(t, open(t, url, 8)), directory(t, open(t, url, 8))}
	for round := range 5 {
		slug := fmt.Sprintf("wanted-%d", round)
		var wg sync.WaitGroup
		var won atomic.Int64
		workspaces := make([]pg.Workspace, 16)
		for i := range workspaces {
			workspaces[i] = pg.Workspace{ID: uuid.Must(uuid.NewV7())}
			wg.Go(func() {
				err := processes[i%2].Provision(minute(t), workspaces[i].ID, slug, "be", noop, noop)
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, tenancy.ErrSlugTaken):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("round %d: %d winners", round, won.Load())
		}
		left := 0
		for _, w := range workspaces {
			if p := partsOf(t, admin, w); p != (parts{}) {
				left++
			}
		}
		if left != 1 {
			t.Errorf("round %d: there is something of %d workspaces", round, left)
		}
	}
}

// Different slugs at once do not disturb each other: all get theirs. Nobody waits for a connection, which a busy machine may not give in time.
func TestProvisionInParallel(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	processes := []*tenancy.Tenancy{directory(t, open(t, url, 8)), directory(t, open(t, url, 8))}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for n := range 2 {
				if err := processes[i%2].Provision(minute(t), uuid.Must(uuid.NewV7()), fmt.Sprintf("slug-%d-%d", i, n), "be", noop, noop); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	entries, err := processes[0].List(minute(t), 0)
	if err != nil || len(entries) != 12 {
		t.Errorf("%d workspaces, %v", len(entries), err)
	}
	if err := processes[1].SelfTest(minute(t)); err != nil {
		t.Error(err)
	}
}
