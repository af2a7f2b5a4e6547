package checkpoint_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
)

// An erasure is read back as it was signed, by whoever knows a key, and by nobody else.
func TestErasure(t *testing.T) {
	t.Parallel()
	ring, other := newRing(t), newRing(t)
	member := uuid.MustParse("01941f29-7c00-7000-8000-000000000002")
	for _, e := range []checkpoint.Erasure{
		checkpoint.NewErasure("", id, member, time.Date(2026, 12, 1, 10, 0, 0, 123456000, time.UTC), checkpoint.Fact{Name: "position", Value: "17"}),
		checkpoint.NewErasure("https://kluis.example.org", id, uuid.Nil, time.Date(2026, 12, 1, 10, 0, 0, 0, time.FixedZone("", 3600))),
	} {
		signers, err := ring.Signers(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		signed, err := e.Sign(signers...)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := checkpoint.OpenErasure(signed, ring.PublicKeys())
		if err != nil || opened.Text() != e.Text() || opened.Workspace != e.Workspace || opened.Member != e.Member || !opened.At.Equal(e.At) || !slices.Equal(opened.Facts, e.Facts) {
			t.Errorf("%+v, %v", opened, err)
		}
		if _, err := checkpoint.OpenErasure(signed, other.PublicKeys()); err == nil {
			t.Error("another key opens it")
		}
		if _, err := checkpoint.OpenErasure([]byte(strings.Replace(string(signed), "01941f29", "01941f2a", 1)), ring.PublicKeys()); err == nil {
			t.Error("a forged one opens")
		}
		if _, err := e.Sign(); err == nil {
			t.Error("it is signed by nobody")
		}
	}
	c := checkpoint.Checkpoint{Origin: checkpoint.NewOrigin("", id, 1)}
	signers, _ := ring.Signers(c.Origin.String())
	signed, _ := c.Sign(signers...)
	if _, err := checkpoint.OpenErasure(signed, ring.PublicKeys()); err == nil {
		t.Error("a checkpoint is an erasure")
	}
}

// The ledger has every erasure that any of its places has, and what is in it stays as it is.
func TestLedger(t *testing.T) {
	t.Parallel()
	kept := &checkpoint.Kept{}
	for range 2 {
		store, err := blob.Open(t.Context(), "file://"+t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		kept.Stores = append(kept.Stores, store)
	}
	whole, member := uuid.New(), uuid.New()
	first := &checkpoint.Kept{Stores: kept.Stores[:1]}
	second := &checkpoint.Kept{Stores: kept.Stores[1:]}
	for place, e := range map[*checkpoint.Kept]checkpoint.Erasure{
		first:  checkpoint.NewErasure("", whole, uuid.Nil, time.Now()),
		second: checkpoint.NewErasure("", id, member, time.Now()),
	} {
		for _, text := range []string{"once", "again"} {
			if err := place.KeepErasure(t.Context(), e, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := kept.Erasure(t.Context(), e.Workspace, e.Member); err != nil || string(text) != "once" {
			t.Errorf("%s, %v", text, err)
		}
	}
	ledger, err := kept.Ledger(t.Context())
	if err != nil || len(ledger.Workspaces) != 1 || !ledger.Workspaces[whole] || len(ledger.Members) != 1 || !slices.Equal(ledger.Members[id], []uuid.UUID{member}) {
		t.Errorf("%+v, %v", ledger, err)
	}
	if text, err := kept.Erasure(t.Context(), id, uuid.Nil); err != nil || text != nil {
		t.Errorf("of what was not erased: %s, %v", text, err)
	}
}
