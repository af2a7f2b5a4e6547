package eventstore_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

func TestKeyHasOneEffect(t *testing.T) {
	t.Parallel()
	a := newFixture(t)
	w := a.workspace(t)
	b := process(t, a.url)
	keyed := func(stream, request string) eventstore.Append {
		ap := write(stream, 0, request)
		ap.Key = &eventstore.Key{Key: sha256.Sum256([]byte("key")), Fingerprint: sha256.Sum256([]byte(request))}
		return ap
	}
	var wg sync.WaitGroup
	receipts := make([]eventstore.Receipt, 20)
	for i := range receipts {
		wg.Go(func() {
			f := []*fixture{a, b}[i%2]
			var err error
			if receipts[i], err = f.store.Append(context.Background(), w, keyed(fmt.Sprintf("thing-%d", i), "buy")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, r := range receipts {
		if r.First != 1 || r.Last != 1 {
			t.Errorf("receipt %+v, want position 1", r)
		}
		if !r.Repeated {
			fresh++
		}
	}
	if fresh != 1 || len(a.log(t, w)) != 1 {
		t.Errorf("%d of 20 had an effect, %d events", fresh, len(a.log(t, w)))
	}
	_, err := a.store.Append(t.Context(), w, keyed("thing-x", "sell"))
	if reused := new(eventstore.KeyReusedError); !errors.As(err, &reused) {
		t.Errorf("another request with the same key: %v, want a KeyReusedError", err)
	}
	if err := a.db.Do(t.Context(), w, pg.Exec(`delete from dedupe`), pg.Exec(`insert into dedupe values ($1, $2, 1, 1, now() - interval '25 hours')`,
		keyed("", "").Key.Key[:], []byte("old"))); err != nil {
		t.Fatal(err)
	}
	if r, err := a.store.Append(t.Context(), w, keyed("thing-y", "sell")); err != nil || r.Repeated {
		t.Errorf("a key of yesterday: %+v, %v", r, err)
	}
}

// A key records that a command had nothing to do, under the command's conditions, and expires like any other key.
func TestKeyOfNothing(t *testing.T) {
	t.Parallel()
	a := newFixture(t)
	w := a.workspace(t)
	b := process(t, a.url)
	nothing := func(key string, expected int, guards ...eventstore.Guard) eventstore.Append {
		return eventstore.Append{Writes: []eventstore.Write{{Stream: "thing-1", Expected: expected}}, Guards: guards,
			Key: &eventstore.Key{Key: sha256.Sum256([]byte(key))}}
	}
	if _, err := a.store.Append(t.Context(), w, write("thing-1", 0, "made")); err != nil {
		t.Fatal(err)
	}
	for i, f := range []*fixture{a, b, a} {
		r, err := f.store.Append(t.Context(), w, nothing("key", 1))
		if err != nil || r.First != 2 || r.Last != 1 || r.Repeated != (i > 0) || len(r.Records) > 0 {
			t.Errorf("receipt %d: %+v, %v", i, r, err)
		}
		if i == 1 {
			if _, err := b.store.Append(t.Context(), w, write("thing-1", 1, "moved")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, ap := range map[string]eventstore.Append{
		"the stream moved": nothing("other", 1), "a guard moved": nothing("other", 2, eventstore.Guard{Stream: "thing-2", Version: 1}),
	} {
		if _, err := a.store.Append(t.Context(), w, ap); !errors.As(err, new(*eventstore.MovedError)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mixed := nothing("mixed", 2)
	mixed.Writes = append(mixed.Writes, write("thing-2", 0, "made").Writes...)
	without := nothing("", 2)
	without.Key = nil
	for what, ap := range map[string]eventstore.Append{"nothing and something": mixed, "nothing without a key": without, "no stream": {Key: mixed.Key}} {
		if _, err := a.store.Append(t.Context(), w, ap); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if n := len(a.log(t, w)); n != 2 {
		t.Errorf("%d events", n)
	}
	if err := a.db.Do(t.Context(), w, pg.Exec(`delete from dedupe`), pg.Exec(`insert into dedupe
		select decode(lpad(to_hex(n), 64, '0'), 'hex'), '\x00', 1, 1, now() - n * interval '1 hour' from generate_series(1, 40) n`)); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		if _, err := a.store.Append(t.Context(), w, nothing(fmt.Sprint("key ", i), 2)); err != nil {
			t.Fatal(err)
		}
	}
	var keys int
	if err := a.db.Read(t.Context(), w, pg.Exec(`select count(*) from dedupe`).Scan(&keys)); err != nil || keys != 23+12 {
		t.Errorf("%d keys are kept, %v", keys, err)
	}
}
