package eventstore_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// An append whose time runs out before it was sent is a BusyError. After it was sent, the outcome is unknown.
func TestOutOfPatience(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := &eventstore.Key{Key: sha256.Sum256([]byte("key"))}
	nothing := eventstore.Append{Writes: []eventstore.Write{{Stream: "thing-1"}}, Key: key}
	keyed := write("thing-1", 0, "x")
	keyed.Key = key
	const takesHead = `select position from head for update`
	const takesFirst = `insert into event (position, id, stream, version, type, at, data) select 1, $1::uuid, 'other', 1, 'x', now(), '{}' where $2::bytea is not null`
	const takesKey = `insert into dedupe (key, fingerprint, first, last, at) select $2::bytea, '\x', 1, 1, now() where $1::uuid is not null`
	for what, c := range map[string]struct {
		append  eventstore.Append
		other   string // the statement of another transaction that stays open
		unknown bool
	}{
		"not sent":                 {write("thing-1", 0, "x"), takesHead, false},
		"not sent, keyed":          {keyed, takesHead, false},
		"sent":                     {write("thing-1", 0, "x"), takesFirst, true},
		"sent, keyed":              {keyed, takesKey, true},
		"sent, keyed and no event": {nothing, takesKey, true},
	} {
		w := f.workspace(t)
		stuck := errors.New("the other transaction ends")
		err := f.db.In(t.Context(), w, func(tx *pg.Tx) error {
			other := pg.Exec(c.other)
			if c.other != takesHead {
				other = pg.Exec(c.other, uuid.Must(uuid.NewV7()), key.Key[:])
			}
			if err := tx.Run(t.Context(), other); err != nil {
				return err
			}
			busy, unknown := false, false
			var err error
			for patience := 300 * time.Millisecond; ; patience *= 2 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				err = f.store.AppendWithin(ctx, w, c.append)
				cancel()
				busy, unknown = errors.As(err, new(*eventstore.BusyError)), errors.As(err, new(*eventstore.UnknownOutcomeError))
				if busy != c.unknown || patience > 10*time.Second {
					break
				} // else a slow machine had no connection to send it through by then
			}
			if busy == c.unknown || unknown != c.unknown || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
			return stuck
		})
		if !errors.Is(err, stuck) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
