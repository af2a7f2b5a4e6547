// Package vault seals personal data and secrets of a workspace under data keys. The workspace has one, and each of its members has one. The
// keyring, which is outside of the database, wraps them. A sealed value says inside what it is for, so it does not open when it was
// moved to another row, field or workspace.
package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Vault opens data keys, and keeps open ones for a short while.
type Vault struct {
	db   *pg.DB
	keys *keyring.Keyring

	mu   sync.Mutex
	open map[subject]opened
}

// subject is the owner of a data key: a member, or the workspace itself when both ids are the same.
type subject struct{ workspace, id uuid.UUID }

type opened struct {
	key   keyring.DataKey
	until time.Time
}

// keep is how long a process may remember a key that was destroyed.
const (
	keep    = time.Minute
	maxOpen = 100_000
)

// ErrErased says that the data key is gone, and with it everything that it sealed.
var ErrErased = errors.New("the data key is gone: the person was erased")

// New makes a vault whose data keys are wrapped by keys.
func New(db *pg.DB, keys *keyring.Keyring) *Vault {
	return &Vault{db: db, keys: keys, open: map[subject]opened{}}
}

// NewKey makes a data key for a subject, and the statement that stores it. The key counts once that statement is committed.
func (v *Vault) NewKey(w pg.Workspace, id uuid.UUID) (Key, pg.Statement, error) {
	key := keyring.NewDataKey()
	wrapped, err := v.keys.Wrap(wrapping(w, id), key)
	if err != nil {
		return Key{}, pg.Statement{}, fmt.Errorf("wrap the data key of %s: %w", id, err)
	}
	insert := pg.Exec(`insert into data_key (subject, wrapped) values ($1, $2)`, id, wrapped)
	return Key{workspace: w, subject: id, key: key}, insert, nil
}

// Destroy is the statement of the owner that destroys the data key of a member. The caller calls Forget when it is committed.
func Destroy(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from data_key where subject = $1`, member)
}

// Forget forgets an open key. Other processes forget it within a minute.
func (v *Vault) Forget(w pg.Workspace, id uuid.UUID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.open, subject{w.ID, id})
}

// There tells whether the database has a data key of a subject at this moment, whatever the vault remembers.
func (v *Vault) There(ctx context.Context, w pg.Workspace, id uuid.UUID) (there bool, err error) {
	err = v.db.Read(ctx, w, pg.Exec(`select exists (select from data_key where subject = $1)`, id).Scan(&there))
	return there, err
}

// Unwrap opens a data key that the caller has read, and remembers nothing.
func (v *Vault) Unwrap(w pg.Workspace, id uuid.UUID, wrapped string) (Key, error) {
	key, err := v.keys.Unwrap(wrapping(w, id), wrapped)
	return Key{workspace: w, subject: id, key: key}, err
}

// ForgetAll forgets all open keys of a workspace. Other processes forget them within a minute.
func (v *Vault) ForgetAll(w pg.Workspace) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s := range v.open {
		if s.workspace == w.ID {
			delete(v.open, s)
		}
	}
}

// Key opens the data key of one subject. The error is ErrErased when it is gone.
func (v *Vault) Key(ctx context.Context, w pg.Workspace, id uuid.UUID) (Key, error) {
	keys, err := v.Keys(ctx, w, []uuid.UUID{id})
	if err != nil {
		return Key{}, err
	}
	key, ok := keys[id]
	if !ok {
		return Key{}, ErrErased
	}
	return key, nil
}

// Keys opens the data keys of several subjects. Those that are gone are missing from the map.
func (v *Vault) Keys(ctx context.Context, w pg.Workspace, ids []uuid.UUID) (map[uuid.UUID]Key, error) {
	keys := make(map[uuid.UUID]Key, len(ids))
	missing := v.cached(w, ids, keys)
	if len(missing) == 0 {
		return keys, nil
	}
	var rows []struct {
		Subject uuid.UUID
		Wrapped string
	}
	if err := v.db.Read(ctx, w, pg.Rows(&rows, `select subject, wrapped from data_key where subject = any($1)`, missing)); err != nil {
		return nil, fmt.Errorf("read data keys: %w", err)
	}
	for _, row := range rows {
		key, err := v.keys.Unwrap(wrapping(w, row.Subject), row.Wrapped)
		if err != nil {
			return nil, fmt.Errorf("open the data key of %s in workspace %s: %w", row.Subject, w.ID, err)
		}
		keys[row.Subject] = Key{workspace: w, subject: row.Subject, key: key}
		v.remember(subject{w.ID, row.Subject}, key)
	}
	return keys, nil
}

func (v *Vault) cached(w pg.Workspace, ids []uuid.UUID, into map[uuid.UUID]Key) (missing []uuid.UUID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	for _, id := range ids {
		if o, ok := v.open[subject{w.ID, id}]; ok && now.Before(o.until) {
			into[id] = Key{workspace: w, subject: id, key: o.key}
		} else {
			missing = append(missing, id)
		}
	}
	return missing
}

func (v *Vault) remember(s subject, key keyring.DataKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.open) >= maxOpen {
		clear(v.open)
	}
	v.open[s] = opened{key: key, until: time.Now().Add(keep)}
}

func wrapping(w pg.Workspace, id uuid.UUID) string {
	return "kluis/data-key/" + w.ID.String() + "/" + id.String()
}

// Key seals the data of one subject.
type Key struct {
	workspace pg.Workspace
	subject   uuid.UUID
	key       keyring.DataKey
}

// Seal returns a token of a value, for one field.
func (k Key) Seal(field, value string) (string, error) {
	return k.key.Seal(k.purpose(field), []byte(value))
}

// Open returns the value in a token. The error is keyring.ErrPurpose when the token was made for another field or subject.
func (k Key) Open(field, token string) (string, error) {
	value, err := k.key.Open(k.purpose(field), token)
	return string(value), err
}

// Hash is a keyed hash of a value, by which it is found again without being stored: the MAC in base64url.
func (k Key) Hash(field, value string) string {
	return base64.RawURLEncoding.EncodeToString(k.MAC(field, value))
}

// MAC is HMAC-SHA-256 (32 bytes) of a value under the data key, for one field.
func (k Key) MAC(field, value string) []byte { return k.key.MAC(k.purpose(field), []byte(value)) }

// CheckMAC tells in constant time whether mac is MAC(field, value).
func (k Key) CheckMAC(field, value string, mac []byte) bool {
	return k.key.CheckMAC(k.purpose(field), []byte(value), mac)
}

func (k Key) purpose(field string) string {
	return "kluis/" + k.workspace.ID.String() + "/" + field + "/" + k.subject.String()
}
