// Package vault seals personal data and secrets of a workspace under data keys: one per workspace and one
// per member, wrapped by the keyring, which is outside the database. A sealed value says inside what it is
// for, so that one moved to another row, field or workspace does not open.
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

// Vault opens data keys and keeps the open ones for a short while.
type Vault struct {
	db   *pg.DB
	keys *keyring.Keyring

	mu   sync.Mutex
	open map[subject]opened
}

// subject is whose key it is: a member's, or the workspace's own when both ids are the same.
type subject struct{ workspace, id uuid.UUID }

type opened struct {
	key   keyring.DataKey
	until time.Time
}

// A destroyed key is forgotten by every process within keep.
const (
	keep    = time.Minute
	maxOpen = 100_000
)

// ErrErased says that the data key is gone, and with it all that it sealed.
var ErrErased = errors.New("the data key is gone: the person was erased")

// New makes a vault whose data keys are wrapped by keys.
func New(db *pg.DB, keys *keyring.Keyring) *Vault {
	return &Vault{db: db, keys: keys, open: map[subject]opened{}}
}

// NewKey makes the data key of a subject. It counts once the statement has run.
func (v *Vault) NewKey(w pg.Workspace, id uuid.UUID) (Key, pg.Statement, error) {
	key := keyring.NewDataKey()
	wrapped, err := v.keys.Wrap(wrapping(w, id), key)
	if err != nil {
		return Key{}, pg.Statement{}, fmt.Errorf("wrap the data key of %s: %w", id, err)
	}
	insert := pg.Exec(`insert into data_key (subject, wrapped) values ($1, $2)`, id, wrapped)
	return Key{workspace: w, subject: id, key: key}, insert, nil
}

// Destroy destroys the data key of a member, once the statement has run, as the owner. Forget follows.
func Destroy(member uuid.UUID) pg.Statement {
	return pg.Exec(`delete from data_key where subject = $1`, member)
}

// Forget forgets an open key. Other processes do within a minute.
func (v *Vault) Forget(w pg.Workspace, id uuid.UUID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.open, subject{w.ID, id})
}

// There looks whether a subject has a data key at this moment, whatever is remembered.
func (v *Vault) There(ctx context.Context, w pg.Workspace, id uuid.UUID) (there bool, err error) {
	err = v.db.Read(ctx, w, pg.Exec(`select exists (select from data_key where subject = $1)`, id).Scan(&there))
	return there, err
}

// Unwrap opens a data key that was read elsewhere, and remembers nothing.
func (v *Vault) Unwrap(w pg.Workspace, id uuid.UUID, wrapped string) (Key, error) {
	key, err := v.keys.Unwrap(wrapping(w, id), wrapped)
	return Key{workspace: w, subject: id, key: key}, err
}

// ForgetAll forgets all open keys of a workspace. Other processes do within a minute.
func (v *Vault) ForgetAll(w pg.Workspace) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s := range v.open {
		if s.workspace == w.ID {
			delete(v.open, s)
		}
	}
}

// Key opens the data key of one subject.
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

// Keys opens the data keys of several subjects; those that are gone are not in the answer.
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

// Key seals what belongs to one subject.
type Key struct {
	workspace pg.Workspace
	subject   uuid.UUID
	key       keyring.DataKey
}

// Seal makes a token of a value, for one field.
func (k Key) Seal(field, value string) (string, error) {
	return k.key.Seal(k.purpose(field), []byte(value))
}

// Open gives the value back. keyring.ErrPurpose says that the token was made for something else.
func (k Key) Open(field, token string) (string, error) {
	value, err := k.key.Open(k.purpose(field), token)
	return string(value), err
}

// Hash is a keyed hash of a value, to find it again without storing it.
func (k Key) Hash(field, value string) string {
	return base64.RawURLEncoding.EncodeToString(k.MAC(field, value))
}

// MAC is Hash as 32 bytes.
func (k Key) MAC(field, value string) []byte { return k.key.MAC(k.purpose(field), []byte(value)) }

// CheckMAC says in constant time whether mac is MAC(field, value).
func (k Key) CheckMAC(field, value string, mac []byte) bool {
	return k.key.CheckMAC(k.purpose(field), []byte(value), mac)
}

func (k Key) purpose(field string) string {
	return "kluis/" + k.workspace.ID.String() + "/" + field + "/" + k.subject.String()
}
