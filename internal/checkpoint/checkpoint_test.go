package checkpoint_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
)

var id = uuid.MustParse("01941f29-7c00-7000-8000-000000000001")

// A checkpoint is read back as it was signed, by whoever knows a key, and by nobody else.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	ring, other := newRing(t), newRing(t)
	c := checkpoint.Checkpoint{Origin: checkpoint.NewOrigin("https://kluis.example.org/a+b", id, 2), Size: 17, Root: tlog.RecordHash([]byte("x"))}
	signers, err := ring.Signers(c.Origin.String())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := c.Sign(signers...)
	if err != nil {
		t.Fatal(err)
	}
	if want := "kluis.example.org/a%2Bb/" + id.String() + "/2\n17\n" + c.Root.String() + "\n\n— kluis.example.org/a%2Bb/"; !strings.HasPrefix(string(signed), want) {
		t.Errorf("signed is %s", signed)
	}
	if opened, err := checkpoint.Open(signed, ring.PublicKeys()); err != nil || opened != c {
		t.Errorf("%+v, %v", opened, err)
	}
	if _, err := checkpoint.Open(signed, other.PublicKeys()); err == nil {
		t.Error("another key opens it")
	}
	if _, err := checkpoint.Open([]byte(strings.Replace(string(signed), "\n17\n", "\n18\n", 1)), ring.PublicKeys()); err == nil {
		t.Error("a forged one opens")
	}
	if _, err := c.Sign(); err == nil {
		t.Error("it is signed by nobody")
	}
}

func newRing(t *testing.T) *keyring.Keyring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := keyring.Create(path); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	root, origin := tlog.RecordHash(nil).String(), "kluis/"+id.String()+"/1"
	if _, err := checkpoint.Parse([]byte(origin + "\n0\n" + root + "\n")); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "\n", origin, origin + "\n1\n" + root, origin + "\n-1\n" + root + "\n", origin + "\n01\n" + root + "\n", origin + "\n1\nx\n",
		"kluis\n1\n" + root + "\n", "kluis/1\n1\n" + root + "\n", origin + "x\n1\n" + root + "\n", "kluis/" + id.String() + "/0\n1\n" + root + "\n",
		"kluis/" + strings.ToUpper(id.String()) + "/1\n1\n" + root + "\n", id.String() + "/1\n1\n" + root + "\n", origin + "\n1\n" + root + "\nmore\n"} {
		if c, err := checkpoint.Parse([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, c)
		}
	}
}

// What is kept is in every place, and stays.
func TestKept(t *testing.T) {
	t.Parallel()
	kept := &checkpoint.Kept{}
	for range 2 {
		store, err := blob.Open(t.Context(), "file://"+t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		kept.Stores = append(kept.Stores, store)
	}
	if first, err := kept.Last(t.Context(), id); err != nil || first != nil {
		t.Errorf("%s, %v", first, err)
	}
	keys := newRing(t).PublicKeys()
	for range 2 {
		if err := kept.KeepKeys(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		epoch int
		size  int64
		text  string
	}{{1, 2, "b"}, {1, 10, "c"}, {2, 1, "d"}, {1, 1, "a"}, {1, 1, "another of the same size"}} {
		at := checkpoint.Checkpoint{Origin: checkpoint.NewOrigin("", id, c.epoch), Size: c.size}
		if err := kept.Keep(t.Context(), at, []byte(c.text)); err != nil {
			t.Fatal(err)
		}
		if err := kept.Note(t.Context(), at, []byte("z"+c.text)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		place := &checkpoint.Kept{Stores: kept.Stores[i:]}
		all, err := place.All(t.Context(), id)
		var texts []string
		for _, text := range all {
			texts = append(texts, string(text))
		}
		if want := "a b c d zanother of the same size"; err != nil || strings.Join(texts, " ") != want {
			t.Errorf("%q, %v", texts, err)
		}
		if newest, err := place.Last(t.Context(), id); err != nil || string(newest) != "zanother of the same size" {
			t.Errorf("%s, %v", newest, err)
		}
		if found, err := place.Keys(t.Context()); err != nil || len(found) != 1 || found[0].String() != keys[0].String() {
			t.Errorf("%v, %v", found, err)
		}
	}
	if all, err := (&checkpoint.Kept{}).All(t.Context(), id); err != nil || all != nil {
		t.Errorf("nowhere: %v, %v", all, err)
	}
}

// A second place that is named later gets what is kept once, too: a key and a checkpoint that the first one has already.
func TestPlaceThatCameLater(t *testing.T) {
	t.Parallel()
	place := func() blob.Store {
		store, err := blob.Open(t.Context(), "file://"+t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	first, second := place(), place()
	ring := newRing(t)
	c := checkpoint.Checkpoint{Origin: checkpoint.NewOrigin("https://kluis.example.org", id, 1), Size: 3}
	for _, kept := range []*checkpoint.Kept{{Stores: []blob.Store{first}}, {Stores: []blob.Store{first, second}}} {
		if err := kept.KeepKeys(t.Context(), ring.PublicKeys()); err != nil {
			t.Fatal(err)
		}
		if err := kept.Keep(t.Context(), c, []byte("signed")); err != nil {
			t.Fatal(err)
		}
	}
	alone := &checkpoint.Kept{Stores: []blob.Store{second}}
	keys, err := alone.Keys(t.Context())
	if err != nil || len(keys) != len(ring.PublicKeys()) {
		t.Errorf("%v, %v", keys, err)
	}
	if all, err := alone.All(t.Context(), id); err != nil || len(all) != 1 || string(all[0]) != "signed" {
		t.Errorf("%q, %v", all, err)
	}
}
