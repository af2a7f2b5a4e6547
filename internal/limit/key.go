package limit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
)

// keyPurpose is the purpose for which the key of the counters is wrapped.
const keyPurpose = "kluis/limit"

// openKey opens the key with which subjects are hashed, or makes it. Afterwards it is wrapped with the first key of the ring. A key that
// does not open any more is replaced, which loses what was counted so far, and nothing else.
func openKey(ctx context.Context, db *pg.DB, ring *keyring.Keyring, log *slog.Logger) (key keyring.DataKey, err error) {
	err = db.Control(ctx, func(tx pgx.Tx) error {
		fresh, wrapped, err := newKey(ring)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into kluis.limit_key (wrapped) values ($1) on conflict do nothing`, wrapped); err != nil {
			return err
		}
		var stored string
		if err := tx.QueryRow(ctx, `select wrapped from kluis.limit_key for update`).Scan(&stored); err != nil {
			return err
		}
		key, err = ring.Unwrap(keyPurpose, stored)
		switch {
		case errors.Is(err, keyring.ErrSealed), errors.Is(err, keyring.ErrPurpose):
			log.WarnContext(ctx, "the key of the limits does not open: a new one is made, and the limits begin anew")
			key = fresh
		case err != nil:
			return err
		case ring.Current(stored):
			return nil
		default:
			if wrapped, err = ring.Wrap(keyPurpose, key); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `update kluis.limit_key set wrapped = $1`, wrapped)
		return err
	})
	if err != nil {
		return key, fmt.Errorf("open the key of the limits: %w", err)
	}
	return key, nil
}

func newKey(ring *keyring.Keyring) (keyring.DataKey, string, error) {
	key := keyring.NewDataKey()
	wrapped, err := ring.Wrap(keyPurpose, key)
	return key, wrapped, err
}
