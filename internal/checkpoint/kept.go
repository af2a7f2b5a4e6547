package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/keyring"
)

// Kept is the signed checkpoints, and the public keys that verify them, where the database's owner cannot rewrite them:
//
//	checkpoints-<workspace>/last            what was signed last, of whatever size: the next one must go on from it
//	checkpoints-<workspace>/<epoch>-<size>  one now and then, for ever
//	verifier-keys/<key id>                  also of keys that sign no more
//
// It is in several stores where more than one place is wanted: what is kept is in all of them, and is read from the first.
type Kept struct {
	Stores []blob.Store

	keys sync.Map // ids of those that were kept already
}

const last = "last"

// Folder is where the checkpoints of a workspace are, and LastOf the one that was signed last.
func Folder(workspace uuid.UUID) string { return "checkpoints-" + workspace.String() }

// LastOf is written again with each that is signed.
func LastOf(workspace uuid.UUID) string { return Folder(workspace) + "/" + last }

// Note remembers what is signed last. It comes before anybody gets to see it: else a process that is killed would have signed what the
// next one does not know.
func (k *Kept) Note(ctx context.Context, c Checkpoint, signed []byte) error {
	return k.put(ctx, LastOf(c.Origin.Workspace), signed)
}

// Keep keeps a signed checkpoint for ever.
func (k *Kept) Keep(ctx context.Context, c Checkpoint, signed []byte) error {
	return k.putOnce(ctx, fmt.Sprintf("%s/%06d-%019d", Folder(c.Origin.Workspace), c.Origin.Epoch, c.Size), signed)
}

// The kinds of blobs that are kept.
var (
	_           = blob.NewKind("checkpoints-{workspace}/{name}")
	_           = blob.NewKind(KeysFolder + "/{name}")
	ofWorkspace = blob.NewKind(Ledgers + "/{workspace}")
	ofMember    = blob.NewKind(Ledgers + "/{workspace}-{member}")
	_           = blob.NewKind(certificates + "/{workspace}")
)

// KeysFolder is of all workspaces.
const KeysFolder = "verifier-keys"

// KeepKeys keeps public keys: before anything that they verify, which outlives them.
func (k *Kept) KeepKeys(ctx context.Context, keys keyring.PublicKeys) error {
	for _, key := range keys {
		if _, done := k.keys.Load(key.ID()); done {
			continue
		}
		if err := k.putOnce(ctx, KeysFolder+"/"+key.ID(), []byte(key.String())); err != nil {
			return err
		}
		k.keys.Store(key.ID(), true)
	}
	return nil
}

// putOnce leaves what is there. A place that came later, or that lost something, gets it.
func (k *Kept) putOnce(ctx context.Context, key string, text []byte) error {
	for _, store := range k.Stores {
		there, err := store.Open(ctx, key)
		if err == nil {
			_ = there.Close() // nothing was read
			continue
		}
		if !errors.Is(err, blob.ErrMissing) {
			return err
		}
		if err := put(ctx, store, key, text); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kept) put(ctx context.Context, key string, text []byte) error {
	for _, store := range k.Stores {
		if err := put(ctx, store, key, text); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx context.Context, store blob.Store, key string, text []byte) error {
	if err := store.Put(ctx, key, func(to io.Writer) error { _, err := to.Write(text); return err }); err != nil {
		return fmt.Errorf("keep %s outside the database: %w", key, err)
	}
	return nil
}

// Last gives what was signed last; nil when nothing was.
func (k *Kept) Last(ctx context.Context, workspace uuid.UUID) ([]byte, error) {
	return k.get(ctx, LastOf(workspace))
}

// All gives every signed checkpoint of a workspace that is kept.
func (k *Kept) All(ctx context.Context, workspace uuid.UUID) ([][]byte, error) {
	return k.list(ctx, Folder(workspace))
}

// Keys are the public keys that were kept.
func (k *Kept) Keys(ctx context.Context) (keys keyring.PublicKeys, err error) {
	texts, err := k.list(ctx, KeysFolder)
	for _, text := range texts {
		key, err := keyring.ParsePublicKey(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, fmt.Errorf("a verifier key that was kept: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, err
}

func (k *Kept) list(ctx context.Context, folder string) (texts [][]byte, err error) {
	if len(k.Stores) == 0 {
		return nil, nil
	}
	var names []string
	err = k.Stores[0].List(ctx, folder, func(item blob.Item) error {
		names = append(names, item.Key)
		return nil
	})
	slices.Sort(names)
	for _, name := range names {
		text, err := k.get(ctx, name)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, err
}

func (k *Kept) get(ctx context.Context, key string) ([]byte, error) {
	if len(k.Stores) == 0 {
		return nil, nil
	}
	b, err := k.Stores[0].Open(ctx, key)
	if errors.Is(err, blob.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer b.Close()
	text := make([]byte, b.Size())
	if _, err := b.ReadAt(text, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return text, nil
}
