package eventstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Auditors hold checkpoints of trees whose leaves are lines of this form, so testdata/lines.ndjson never changes.
func TestGoldenLines(t *testing.T) {
	t.Parallel()
	actor := uuid.MustParse("01941f29-7c00-7000-8000-000000000002")
	at := time.Date(2026, 11, 27, 9, 8, 7, 0, time.UTC)
	var got strings.Builder
	for i, r := range []eventstore.Record{
		{Stream: "workspace-01941f29-7c00-7000-8000-000000000001", Version: 1, Type: "workspace.created", At: at, Data: []byte(`{"slug":"acme"}`)},
		{Stream: "roster", Version: 12, Type: "member.invited", At: at.Add(120 * time.Millisecond), Actor: &actor,
			Meta: []byte(`{"ip":"gAAAA=","user_agent":"gAAAB="}`), Data: []byte(`{"full_name":"gAAAC=","n":1.50,"e":1e3}`)},
		{Stream: "a <b>&\u2028\"\\ é\x7f", Version: 2147483647, Type: "thing.done", At: at.Add(123456 * time.Microsecond).In(time.FixedZone("", 7200)),
			Data: []byte(`{"b":"\u00e9\u003c","a":[1,2,{"x":null}], "text":"<é>"}`)},
	} {
		r.Position, r.ID = int64(i)*1_000_000_000_000+1, actor
		got.Write(append(r.AppendLine(nil), '\n'))
	}
	want, err := os.ReadFile("testdata/lines.ndjson")
	if err != nil || got.String() != string(want) {
		t.Errorf("%v; a line is now\n%s, it was\n%s", err, &got, want)
	}
}

// The stored tree is that of RFC 6962 at every size, for every way in which it grew, and its proofs hold.
func TestTree(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	var leaves []tlog.Hash
	roots := map[int64]tlog.Hash{}
	for size := 0; size < 1100; {
		n := min(1+rand.IntN(3)*rand.IntN(60), 1100-size)
		var many []eventstore.Event
		for i := range n {
			many = append(many, event(fmt.Sprint("<é>", size+i)))
		}
		f.must(t, w, eventstore.Append{Writes: []eventstore.Write{{Stream: "thing-1", Expected: size, Events: many}}})
		if size += n; rand.IntN(2) == 0 && size < 1100 {
			continue
		}
		tree := f.grow(t, w)
		if tree.Size != int64(size) || tree.Behind() != 0 {
			t.Fatalf("a tree of %d records, of %d", tree.Size, size)
		}
		leaves = leaves[:0]
		if _, err := f.store.Each(t.Context(), w, 1, func(r eventstore.Record) error {
			leaves = append(leaves, tlog.RecordHash(r.AppendLine(nil)))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		root, err := f.store.Root(t.Context(), w, tree.Size)
		if want := merkle(leaves); err != nil || root != want {
			t.Fatalf("the root at %d is %s, %v; want %s", size, root, err, want)
		}
		roots[tree.Size] = root
	}
	for size, root := range roots {
		for range 3 {
			position := 1 + rand.Int64N(size)
			proof, err := f.store.ProveRecord(t.Context(), w, size, position)
			if err == nil {
				err = tlog.CheckRecord(proof, size, root, position-1, leaves[position-1])
			}
			if err != nil {
				t.Errorf("record %d of %d: %v", position, size, err)
			}
		}
		for old, oldRoot := range roots {
			if old > size {
				continue
			}
			proof, err := f.store.ProveGrowth(t.Context(), w, size, old)
			if err == nil {
				err = tlog.CheckTree(proof, size, root, old, oldRoot)
			}
			if err != nil {
				t.Errorf("from %d to %d: %v", old, size, err)
			}
		}
	}
}

// grow grows a tree until it has the whole log.
func (f *fixture) grow(t testing.TB, w pg.Workspace) eventstore.Tree {
	t.Helper()
	for {
		tree, err := f.store.Grow(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Behind() == 0 {
			return tree
		}
	}
}

// merkle is the Merkle tree hash of RFC 6962, 2.1, written as in the text of the RFC.
func merkle(leaves []tlog.Hash) tlog.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return tlog.NodeHash(merkle(leaves[:k]), merkle(leaves[k:]))
}

// Two processes that grow a tree at once make one tree.
func TestTreeOfTwoProcesses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := process(t, f.url)
	w := f.workspace(t)
	done := make(chan error, 2)
	for _, p := range []*fixture{f, other} {
		go func() {
			var err error
			for i := 0; i < 40 && err == nil; i++ {
				if _, err = p.store.Append(t.Context(), w, write("thing-"+uuid.NewString(), 0, "x")); err == nil {
					_, err = p.store.Grow(t.Context(), w)
				}
			}
			done <- err
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	f.grow(t, w)
	var leaves []tlog.Hash
	if _, err := f.store.Each(t.Context(), w, 1, func(r eventstore.Record) error {
		leaves = append(leaves, tlog.RecordHash(r.AppendLine(nil)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if root, err := f.store.Root(t.Context(), w, 80); err != nil || root != merkle(leaves) {
		t.Errorf("the root of two is %s, %v", root, err)
	}
}

// A tree has as many hashes as its size says. More hashes than those are gone once the tree grows; with a hash too few the tree does not grow.
func TestTreeOfDamagedTiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	f.fill(t, w, 1, 40)
	mark := f.mark(t, w, 1)
	f.superuser(t, w, `update tile set hashes = hashes || '\x0123'::bytea where id >= 0; update tree set size = size - 3; insert into tile select id + 1, '\xff' from tile on conflict do nothing`)
	f.fill(t, w, 41, 80)
	mark.Checkpoint = f.mark(t, w, 1).Checkpoint
	if verdict := f.verify(t, w, eventstore.Expected{First: first(w), Marks: []eventstore.Mark{mark}}); len(verdict.Findings) > 0 || verdict.Marks != 1 {
		t.Errorf("hashes too many: %+v", verdict)
	}
	f.superuser(t, w, `update tile set hashes = substr(hashes, 1, length(hashes) - 32) where id = 2`)
	f.fill(t, w, 81, 82)
	if _, err := f.store.Grow(t.Context(), w); !errors.Is(err, eventstore.ErrTreeBroken) {
		t.Errorf("a hash too few: %v", err)
	}
}

// A tree does not grow over a gap in the log, nor when the end of the log was cut off.
func TestTreeOfDamagedLogs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for damage, is := range map[string]func(error) bool{
		"delete from event where position = 4": func(err error) bool {
			var gap *eventstore.GapError
			return errors.As(err, &gap) && gap.Want == 4
		},
		"delete from event where position > 2; update head set position = 2": func(err error) bool {
			var ahead *eventstore.AheadError
			return errors.As(err, &ahead) && ahead.Tree.Size == 3
		},
	} {
		w := f.workspace(t)
		for i := range 3 {
			f.must(t, w, write("thing-1", i, "x"))
		}
		f.grow(t, w)
		for i := range 3 {
			f.must(t, w, write("thing-1", 3+i, "x"))
		}
		f.superuser(t, w, damage)
		if _, err := f.store.Grow(t.Context(), w); !is(err) {
			t.Errorf("after %s: %v", damage, err)
		}
	}
}
