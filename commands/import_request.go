package commands

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/imports"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// MaxImport is the longest file of an import, in bytes. maxRejects is how many rejected lines are kept; further ones are only counted.
const (
	MaxImport  = 1 << 30
	maxRejects = 10_000
)

// RequestImport receives a file, which is played in the background:
//
//  1. The file goes to the store of blobs, encrypted.
//  2. The event is appended. Its reaction puts the import into the queue (jobs/import.go).
//  3. RunImport plays the file, and deletes it at the end.
//
// A process that is killed between 1 and 2 leaves a file that nobody plays, and that the sweep of blobs deletes.
func (c *Commands) RequestImport(ctx context.Context, r Request, wanted domain.ImportRequested, content io.Reader) (Result[domain.Import], error) {
	var none Result[domain.Import]
	if err := allow(r.By, domain.CreateImport); err != nil {
		return none, err
	}
	if err := domain.CheckImport(wanted); err != nil {
		return none, err
	}
	id := uuid.Must(uuid.NewV7())
	if r.By.Token != uuid.Nil {
		wanted.TokenID = &r.By.Token
	}
	w := r.By.Workspace
	sealer, err := c.sealer(ctx, w, id)
	if err != nil {
		return none, err
	}
	file := &intake{from: content, hash: sha256.New(), check: checkImportSize}
	if err := c.putBlob(ctx, importKey(w, id), sealer, file); file.err != nil {
		return none, file.err // the sender's error, whatever error the store made of it
	} else if err != nil {
		return none, c.noBlobs(ctx, w, id, err)
	}
	wanted.Size = file.size
	if r.Once != nil { // a repetition is one only with the same file and the same fields
		asked, err := json.Marshal(wanted)
		if err != nil {
			return none, err
		}
		r.Once = &Once{Key: r.Once.Key, Fingerprint: sha256.Sum256(append(append(r.Once.Fingerprint[:], file.hash.Sum(nil)...), asked...))}
	}
	done, err := create(ctx, c, r, projections.Imports, domain.CreateImport, id, func(*attempt) (decision, error) {
		return decision{events: []domain.Event{wanted}}, nil
	})
	if _, refused := domain.Refusal(err); refused || err == nil && done.State.ID != id {
		err = errors.Join(err, c.Blobs.Delete(context.WithoutCancel(ctx), importKey(w, id)))
	}
	return done, err
}

// checkImportSize refuses a file that is too long for an import.
func checkImportSize(size int64) error {
	if size <= MaxImport {
		return nil
	}
	return domain.Refuse(domain.TooLarge, "file_too_large", "an import has at most %d bytes: divide the file", MaxImport)
}

// importKey is the key of an import's file in the store of blobs. No attachment has such a key.
func importKey(w pg.Workspace, id uuid.UUID) string {
	return importBlob.Key(w.ID, id)
}

// RunImport plays an import, from the start or once more. The error is nil when the import has ended, whether it succeeded or failed.
func (c *Commands) RunImport(ctx context.Context, w pg.Workspace, id uuid.UUID) error {
	operator, err := c.Projections.Operator(ctx, w)
	if err != nil {
		return err
	}
	i, _, err := projections.Imports.Get(ctx, c.Projections, *operator, id)
	if refusal, refused := domain.Refusal(err); refused && refusal.Kind == domain.NotFound { // a backup from before the import was put back
		return c.Blobs.Delete(ctx, importKey(w, id))
	}
	if err != nil {
		return err
	}
	if i.Status == domain.ImportWaiting {
		counts, err := c.play(ctx, w, i)
		var end domain.Event = domain.ImportFinished{Actions: counts.Actions, Rejected: counts.Rejected}
		if err != nil {
			if ctx.Err() != nil || temporary(err) {
				return err // the queue tries again when the outage is over
			}
			c.Log.WarnContext(ctx, "an import failed", "workspace", w.ID, "import", id, "error", err.Error())
			end = domain.ImportBroken{Reason: reasonOf(err)}
		}
		if err := c.endImport(ctx, w, id, end); err != nil {
			return err
		}
	}
	return c.Blobs.Delete(ctx, importKey(w, id))
}

// reasonOf is the reason of a failure as members read it: the words of a refusal or of an unreadable file, and of no other error.
func reasonOf(err error) string {
	if refusal, refused := domain.Refusal(err); refused {
		return refusal.Error()
	}
	if ended, is := errors.AsType[*unreadableError](err); is {
		return ended.Error()
	}
	return "an error that the operator of Kluis finds in the log"
}

// unreadableError says that a file cannot be read further.
type unreadableError struct{ error }

// endImport appends the end of an import, by Kluis itself.
func (c *Commands) endImport(ctx context.Context, w pg.Workspace, id uuid.UUID, end domain.Event) error {
	r, err := c.operator(ctx, w)
	if err != nil {
		return err
	}
	_, err = changeOne(ctx, c, r, projections.Imports, domain.CreateImport, id, stateOnly(func(i domain.Import) ([]domain.Event, error) { return i.Finish(end), nil }))
	return err
}

// play plays the file of an import, and stores its progress about once a second.
func (c *Commands) play(ctx context.Context, w pg.Workspace, i domain.Import) (ImportCounts, error) {
	var none ImportCounts
	sealer, err := c.sealer(ctx, w, i.ID)
	if err != nil {
		return none, err
	}
	stored, err := c.Blobs.Open(ctx, importKey(w, i.ID))
	if errors.Is(err, blob.ErrMissing) {
		return none, domain.Refuse(domain.NotFound, "import_file_missing", "the file was deleted: send it again")
	}
	if err != nil {
		return none, c.noBlobs(ctx, w, i.ID, err)
	}
	defer stored.Close()
	plain, size, err := sealer.Decrypt(stored)
	if err != nil {
		return none, fmt.Errorf("open the file of import %s: %w", i.ID, err)
	}
	by := projections.Actor{Workspace: w, Member: i.CreatedBy}
	if i.TokenID != nil {
		by.Token = *i.TokenID
	}
	told := &importTold{c: c, w: w, id: i.ID}
	actions := imports.Read(io.NewSectionReader(plain, 0, size), imports.Options{Format: i.Format, Org: i.Org, Mapping: i.Mapping, Dates: told.readDates, Asked: i.CreatedAt})
	return c.Import(ctx, by, Origin{}, Importing{Source: i.Source, Actions: markReadErrors(actions),
		Progress: func(counts ImportCounts) { told.progress(ctx, counts) }, Rejected: told.reject})
}

// markReadErrors marks the errors of reading the file, because members may read those.
func markReadErrors(actions func(func(imports.Action, error) bool)) func(func(imports.Action, error) bool) {
	return func(yield func(imports.Action, error) bool) {
		for a, err := range actions {
			if _, reject := errors.AsType[*imports.Reject](err); err != nil && !reject {
				err = &unreadableError{err}
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// importTold stores the progress and the rejects of an import under way.
type importTold struct {
	c  *Commands
	w  pg.Workspace
	id uuid.UUID

	mu      sync.Mutex
	rejects []imports.Reject
	dates   map[string]string
}

func (t *importTold) readDates(in map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dates = in
}

func (t *importTold) reject(r imports.Reject) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rejects) < maxRejects {
		t.rejects = append(t.rejects, r)
	}
}

func (t *importTold) progress(ctx context.Context, counts ImportCounts) {
	t.mu.Lock()
	rejects := slices.Clone(t.rejects)
	counts.Dates = t.dates
	t.mu.Unlock()
	slices.SortStableFunc(rejects, func(a, b imports.Reject) int { return a.Line - b.Line })
	text, err := json.Marshal(counts)
	lines, wrong := json.Marshal(append([]imports.Reject{}, rejects...))
	if err = errors.Join(err, wrong); err == nil {
		err = t.c.DB.Do(context.WithoutCancel(ctx), t.w, projections.StoreImportRun(t.id, projections.ImportRun{Counts: text, Rejects: lines}))
	}
	if err != nil {
		t.c.Log.WarnContext(ctx, "the progress of an import could not be stored", "import", t.id, "error", err.Error())
	}
}
