package eventstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// shows gives the id of a session that is good until it is ended.
func (f *fixture) shows(t *testing.T, w pg.Workspace) uuid.UUID {
	t.Helper()
	id := uuid.New()
	if err := f.db.Do(t.Context(), w, pg.Exec(`insert into session (id, member_id, digest, expires_at) values ($1, $1, $2, now() + interval '1 hour')`, id, id[:])); err != nil {
		t.Fatal(err)
	}
	return id
}

func (f *fixture) end(t *testing.T, w pg.Workspace, session uuid.UUID) {
	t.Helper()
	if err := f.db.Do(t.Context(), w, pg.Exec(`delete from session where id = $1`, session)); err != nil {
		t.Fatal(err)
	}
}

// The proof of an append is checked in its own transaction, also when the writer remembers the log. An append with an ended session, or
// with one of another epoch, is not stored. Other appends of the batch are stored.
func TestProof(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.store.Prove(`exists (select from session where session.id = @ and expires_at > now())`)
	w := f.workspace(t)
	good, ended := f.shows(t, w), f.shows(t, w)
	n := 0
	with := func(session uuid.UUID, epoch int) eventstore.Append {
		n++
		a := write(fmt.Sprintf("thing-%d", n), 0, "x")
		a.Proof = &eventstore.Proof{Shown: session, Epoch: epoch}
		return a
	}
	for range 3 { // the first looks, the next ones do not
		f.must(t, w, with(ended, 1))
		f.must(t, w, with(good, 1))
	}
	f.end(t, w, ended)
	stored := 6
	for range 3 {
		for _, a := range []eventstore.Append{with(ended, 1), with(uuid.New(), 1), with(good, 2)} {
			if _, err := f.store.Append(t.Context(), w, a); !errors.As(err, new(*eventstore.UnprovenError)) {
				t.Errorf("%+v: %v", a.Proof, err)
			}
		}
		f.must(t, w, with(good, 1))
		stored++
	}
	var together []eventstore.Append
	for i := range 64 {
		session := good
		if i%4 == 0 {
			session = ended
		}
		together = append(together, with(session, 1))
	}
	var appends sync.WaitGroup
	for _, a := range together {
		appends.Go(func() {
			_, err := f.store.Append(t.Context(), w, a)
			if unproven := errors.As(err, new(*eventstore.UnprovenError)); unproven != (a.Proof.Shown == ended) || !unproven && err != nil {
				t.Errorf("%+v: %v", a.Proof, err)
			}
		})
	}
	appends.Wait()
	if log := f.log(t, w); len(log) != stored+48 {
		t.Errorf("%d events, want %d", len(log), stored+48)
	}
}
