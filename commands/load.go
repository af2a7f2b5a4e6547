package commands

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/archive"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// WholeArchive is an export that VerifyArchive found to be whole.
type WholeArchive struct {
	*archive.Reader
	checkpoint.Checkpoint
	Pruned eventstore.Pruned // the pruned records before the log; zero when nothing was pruned
	edge   []tlog.Hash       // of the Merkle tree over the pruned records
}

// VerifyArchive checks that an export is whole: the signature of its manifest, each file, every line of the log against the checkpoint, and baselines and
// edge against the log. One of the known keys must have signed the export. Without known keys, the keys in the archive are used, which proves that it is
// whole, but not who made it. Nothing is stored. progress may be nil.
func VerifyArchive(r *archive.Reader, known keyring.PublicKeys, progress func(name string)) (*WholeArchive, error) {
	at, err := signedArchive(r, known)
	if err != nil {
		return nil, err
	}
	var verdict eventstore.Verdict
	for _, f := range r.Manifest.Files {
		if progress != nil {
			progress(f.Name)
		}
		look := func(io.Reader) error { return nil }
		if f.Name == archive.LogName {
			look = func(lines io.Reader) (err error) {
				verdict, err = verifyLines(lines, at)
				return err
			}
		}
		if err := r.Read(f.Name, look); err != nil {
			return nil, err
		}
	}
	whole := &WholeArchive{Reader: r, Checkpoint: at, Pruned: verdict.Gone}
	if verdict.Pruned != r.Manifest.Pruned {
		return nil, fmt.Errorf("the manifest says that the records up to %d were pruned, and the log begins after %d", r.Manifest.Pruned, verdict.Pruned)
	}
	if verdict.Pruned == 0 {
		whole.Pruned = eventstore.Pruned{}
		return whole, nil
	}
	return whole, whole.checkPruned()
}

// checkPruned compares the baselines and the edge with the hashes in the log.
func (a *WholeArchive) checkPruned() error {
	if a.File(archive.BaselinesName).SHA256 != a.Pruned.Baselines {
		return fmt.Errorf("%q does not have the hash that the log has for the records up to %d", archive.BaselinesName, a.Pruned.UpTo)
	}
	text, err := a.Small(archive.EdgeName)
	if err == nil {
		a.edge, err = parseEdge(text)
	}
	if err == nil && !eventstore.CheckEdge(a.Pruned.UpTo, a.edge, a.Pruned.Root) {
		err = fmt.Errorf("%q does not give the root that the log has for the records up to %d", archive.EdgeName, a.Pruned.UpTo)
	}
	return err
}

// signedArchive checks that one of the keys signed manifest and checkpoint, and returns the checkpoint.
func signedArchive(r *archive.Reader, known keyring.PublicKeys) (checkpoint.Checkpoint, error) {
	var at checkpoint.Checkpoint
	text, err := r.Small(archive.KeysName)
	if err != nil {
		return at, err
	}
	if len(known) == 0 {
		if known, err = ParseVerifierKeys(string(text)); err != nil {
			return at, fmt.Errorf("%q: %w", archive.KeysName, err)
		}
	}
	if err := r.CheckSignature(known.Verifiers(r.Manifest.Origin)); err != nil {
		return at, err
	}
	signed, err := r.Small(archive.SignedName)
	if err == nil {
		at, err = checkpoint.Open(signed, known)
	}
	if err != nil {
		return at, fmt.Errorf("%q: %w", archive.SignedName, err)
	}
	if at.Origin.String() != r.Manifest.Origin || at.Size != r.Manifest.UpTo || at.Origin.Workspace != r.Manifest.Workspace.ID {
		return at, fmt.Errorf("the checkpoint is of %s at %d, and the manifest of %s at %d", at.Origin, at.Size, r.Manifest.Origin, r.Manifest.UpTo)
	}
	return at, nil
}

// ParseVerifierKeys reads verifier keys (C2SP signed-note), one on a line. Their names do not count.
func ParseVerifierKeys(text string) (keys keyring.PublicKeys, err error) {
	for _, line := range strings.Fields(text) {
		key, err := keyring.ParseVerifierKey(line)
		if err != nil {
			return nil, err
		}
		keys = keys.With(keyring.PublicKeys{key})
	}
	return keys, nil
}

func verifyLines(lines io.Reader, at checkpoint.Checkpoint) (eventstore.Verdict, error) {
	expected := projections.Expected(pg.Workspace{ID: at.Origin.Workspace}, []eventstore.Mark{{Checkpoint: at, Name: archive.SignedName}}, at.Origin.Epoch)
	verdict, err := eventstore.VerifyFile(lines, expected, nil)
	if err == nil && len(verdict.Findings) > 0 {
		err = errors.New(verdict.Findings[0].String())
	}
	if err == nil && (verdict.Marks == 0 || verdict.Pruned+verdict.Records != at.Size) {
		err = fmt.Errorf("the log ends at %d, and its checkpoint is at %d", verdict.Pruned+verdict.Records, at.Size)
	}
	return verdict, err
}

// LoadArchive makes a workspace of an export that VerifyArchive found to be whole, under a slug that is free:
//
//  1. One transaction makes the workspace, with the log of the export: the same records, with their positions, times and authors. Sealed fields are
//     sealed anew, and the stream of the workspace gets the new id. The last event says where the records came from, and what their root was there. A
//     log that was pruned goes on from its baselines, which are sealed anew as well.
//  2. The files of tasks go to the store of blobs, encrypted under keys of the new workspace.
//  3. The read models are derived, and compared with those of the export.
//
// A call that is killed during 1 leaves nothing. A call that is killed later, or fails for lack of room, goes on when it is repeated with the same export
// and slug. Nobody has a password then: members ask for a new one by mail. A difference in 3 is an error, and the workspace stays, to be examined and
// erased. said is called after each step, and may be nil.
func (c *Commands) LoadArchive(ctx context.Context, from *WholeArchive, slug string, said func(step string)) (Loaded, error) {
	l := &loader{c: c, w: pg.Workspace{ID: uuid.Must(uuid.NewV7())}, from: from, keys: map[uuid.UUID]vault.Key{}, emails: map[uuid.UUID]string{},
		event: domain.WorkspaceImported{Slug: slug, Region: c.Region, Origin: from.Origin.String(), Records: from.Size, Root: from.Root.String()}}
	begun, err := l.begin(ctx)
	if err == nil && !begun {
		err = l.load(ctx)
	}
	compared := false
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"log", func(context.Context) error { return nil }},
		{"files", l.files},
		{"compared", func(ctx context.Context) (err error) { compared, err = l.compare(ctx); return err }},
	} {
		if err == nil {
			err = step.do(ctx)
		}
		if err == nil && said != nil {
			said(step.name)
		}
	}
	return Loaded{l.w, compared}, err
}

// Loaded is a workspace that was made of an export.
type Loaded struct {
	Workspace pg.Workspace
	Compared  bool // whether its read models were compared with the export; false when somebody changed the workspace first
}

// loader is the loading of one archive.
type loader struct {
	c      *Commands
	w      pg.Workspace
	from   *WholeArchive
	event  domain.WorkspaceImported // the last event
	own    vault.Key                // the workspace's
	keys   map[uuid.UUID]vault.Key  // by subject
	insert []pg.Statement           // that store keys and addresses
	emails map[uuid.UUID]string     // by member
}

// begin refuses an export that cannot be loaded, and tells whether an earlier call has begun to load the same one.
func (l *loader) begin(ctx context.Context) (begun bool, err error) {
	m, slug := l.from.Manifest, l.event.Slug
	if _, err := domain.NewWorkspace(domain.WorkspaceCreated{Slug: slug, Name: m.Workspace.Name, Plan: m.Workspace.Plan, Region: l.event.Region}); err != nil {
		return false, err
	}
	taken, err := l.c.Tenancy.SlugTaken(ctx, slug)
	if err == nil && taken {
		begun, err = l.earlier(ctx)
	}
	switch {
	case err != nil || begun:
		return begun, err
	case taken:
		return false, domain.Refuse(domain.Conflict, "slug_taken", "there is, or was, a workspace %s: choose another name for the workspace that the export makes", slug)
	case m.Schema > l.c.Tenancy.Newest():
		return false, fmt.Errorf("the export has schema %d, and this program knows schemas up to %d: use a newer kluis", m.Schema, l.c.Tenancy.Newest())
	}
	return false, nil
}

// earlier finds the workspace that an earlier call made of the same export, under the same slug.
func (l *loader) earlier(ctx context.Context) (found bool, err error) {
	e, err := l.c.Tenancy.BySlug(ctx, l.event.Slug)
	if errors.Is(err, tenancy.ErrUnknown) || err == nil && (e.Status != "active" || e.Region != l.event.Region) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var data []string
	err = l.c.DB.Read(ctx, e.Workspace(), pg.Column(&data, `select data::text from event where position = $1 and type = $2`, l.from.Size+1, domain.TypeOf(l.event)))
	if err != nil || len(data) == 0 {
		return false, err
	}
	var told domain.WorkspaceImported
	if err := json.Unmarshal([]byte(data[0]), &told); err != nil {
		return false, err
	}
	if told.Baselines = ""; told != l.event { // each call seals the baselines anew, so their hash differs
		return false, nil
	}
	l.w = e.Workspace()
	l.own, err = l.c.Vault.Key(ctx, l.w, l.w.ID)
	return err == nil, err
}

// load does step 1 of LoadArchive.
func (l *loader) load(ctx context.Context) (err error) {
	var insertOwn pg.Statement
	if l.own, insertOwn, err = l.c.Vault.NewKey(l.w, l.w.ID); err != nil {
		return err
	}
	l.keys[l.w.ID], l.insert = l.own, []pg.Statement{insertOwn}
	var receipt eventstore.Receipt
	err = l.c.Tenancy.Provision(ctx, l.w.ID, l.event.Slug, l.event.Region, func(tx pgx.Tx) error {
		if err := l.log(ctx, tx); err != nil {
			return err
		}
		for id, email := range l.emails {
			if normal, err := checkEmail("", email); err == nil {
				l.insert = append(l.insert, setAddress(id, l.own.Hash(emailField, normal)))
			}
		}
		if err := run(ctx, tx, l.insert...); err != nil {
			return fmt.Errorf("store keys and addresses: %w", err)
		}
		write, err := encode(domain.WorkspaceStream(l.w.ID), eventstore.Any, []domain.Event{l.event}, nil)
		if err == nil {
			receipt, err = l.c.Store.AppendIn(ctx, in(tx), l.w, eventstore.Append{Writes: []eventstore.Write{write}})
		}
		return err
	}, func(pgx.Tx) error { return nil })
	if errors.Is(err, tenancy.ErrSlugTaken) {
		return slugTaken()
	}
	if err == nil {
		l.c.Store.Appended(l.w, receipt)
	}
	return err
}

// files stores the files of tasks that an earlier call has not stored.
func (l *loader) files(ctx context.Context) error {
	for _, name := range l.from.Under(archive.FilesFolder) {
		if err := l.file(ctx, name); err != nil {
			return fmt.Errorf("the log is loaded, but not all files of tasks: run the same command again, which goes on with the files: %w", err)
		}
	}
	return nil
}

func (l *loader) file(ctx context.Context, name string) error {
	text, _, _ := strings.Cut(strings.TrimPrefix(name, archive.FilesFolder), "/")
	id, err := uuid.Parse(text)
	if err != nil {
		return fmt.Errorf("%q belongs to no attachment", name)
	}
	key := BlobKey(l.w, id)
	there, err := l.c.Blobs.Open(ctx, key)
	if err == nil {
		return there.Close()
	}
	if !errors.Is(err, blob.ErrMissing) {
		return err
	}
	field := "attachment.content/" + id.String()
	sealer := blob.Sealer{Seal: func(key string) (string, error) { return l.own.Seal(field, key) }}
	return l.from.Read(name, func(from io.Reader) error { return l.c.putBlob(ctx, key, sealer, from) })
}

// log loads the baselines and the records, with their sealed fields sealed anew. The file of opened fields is read side by side with both.
func (l *loader) log(ctx context.Context, tx pgx.Tx) error {
	return l.from.Read(archive.OpenedName, func(from io.Reader) error {
		clear, err := openedIn(from)
		if err == nil {
			l.event.Baselines, err = l.baselines(ctx, tx, clear)
		}
		if err != nil {
			return err
		}
		return l.from.Read(archive.LogName, func(log io.Reader) error {
			lines := bufio.NewReaderSize(log, 1<<20)
			return eventstore.LoadIn(ctx, tx, l.from.Origin.Epoch, l.from.Pruned, l.from.edge, func() (eventstore.Record, bool, error) { return l.record(lines, clear) })
		})
	})
}

// record gives the next record of the log, sealed anew; more is false after the last one.
func (l *loader) record(lines *bufio.Reader, clear *opened) (r eventstore.Record, more bool, err error) {
	line, err := eventstore.ReadLine(lines)
	if errors.Is(err, io.EOF) && len(line) == 0 {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read %q: %w", archive.LogName, err)
	}
	r, is := eventstore.ParseLine(line)
	if !is {
		return r, false, fmt.Errorf("%q: a line is not as a replay writes one", archive.LogName)
	}
	known, err := clear.ofRecord(r.Position)
	if err == nil {
		r, err = l.resealRecord(r, known)
	}
	return r, err == nil, err
}

// resealRecord gives a record as the new workspace has it.
func (l *loader) resealRecord(r eventstore.Record, clear openedLine) (eventstore.Record, error) {
	if _, err := domain.Decode(r.Type, r.Data); err != nil {
		return r, err
	}
	if r.Stream == domain.WorkspaceStream(l.from.Origin.Workspace) {
		r.Stream = domain.WorkspaceStream(l.w.ID)
	}
	meta := r.Meta
	if r.Meta = nil; clear.Meta != nil && meta != nil {
		var err error
		if r.Meta, err = l.sealMeta(metaSubject(l.w, r), *clear.Meta); err != nil {
			return r, err
		}
	}
	member, sealed := sealedIn(r)
	if gone, is := endedMember(r); is {
		delete(l.emails, gone)
	}
	if len(clear.Fields) == 0 || sealed == nil {
		return r, nil
	}
	var err error
	r.Data, err = l.reseal(member, sealed, clear.Fields, r.Data)
	return r, err
}

// reseal replaces the sealed fields of a member in data by new ones, as far as clear has their texts.
func (l *loader) reseal(member uuid.UUID, sealed, clear map[string]string, data json.RawMessage) (json.RawMessage, error) {
	key, err := l.key(member)
	if err != nil {
		return nil, err
	}
	for name, old := range sealed {
		plain, there := clear[name]
		if !there {
			continue
		}
		token, err := key.Seal(sealedAs[name], plain)
		if err != nil {
			return nil, err
		}
		data = bytes.Replace(data, quoted(old), quoted(token), 1)
		if name == "email" {
			l.emails[member] = plain
		}
	}
	return data, nil
}

func quoted(text string) []byte { return []byte(`"` + text + `"`) }

// endedMember gives the member whose membership a record ends.
func endedMember(r eventstore.Record) (member uuid.UUID, ended bool) {
	if r.Type != domain.TypeOf(domain.MemberRemoved{}) && r.Type != domain.TypeOf(domain.MemberErased{}) {
		return uuid.Nil, false
	}
	var of struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	ended = json.Unmarshal(r.Data, &of) == nil
	return of.MemberID, ended
}

// sealMeta seals an origin that was opened. The origin of an erased subject has at most the id of a token, which needs no key.
func (l *loader) sealMeta(subject uuid.UUID, o sealedOrigin) (json.RawMessage, error) {
	for _, f := range []struct {
		name  string
		value *string
	}{{ipField, &o.IP}, {agentField, &o.UserAgent}} {
		if *f.value == "" {
			continue
		}
		key, err := l.key(subject)
		if err != nil {
			return nil, err
		}
		if *f.value, err = key.Seal(f.name, *f.value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(o)
}

// key gives the data key of a subject, and makes it at the first use. A subject that was erased in the other installation gets none.
func (l *loader) key(id uuid.UUID) (vault.Key, error) {
	if key, there := l.keys[id]; there {
		return key, nil
	}
	key, insert, err := l.c.Vault.NewKey(l.w, id)
	if err == nil {
		l.keys[id] = key
		l.insert = append(l.insert, insert)
	}
	return key, err
}

// compare derives the read models, and compares them with the tables of the export, byte by byte, unless somebody has changed the workspace since. The
// table of the workspace itself is left out, because its id differs, and maybe its slug.
func (l *loader) compare(ctx context.Context) (compared bool, err error) {
	err = l.c.Projections.Snapshot(ctx, l.w, l.from.Size+1, func(s *projections.Snapshot) error {
		if compared = s.UpTo == l.from.Size+1; !compared {
			return nil
		}
		for _, name := range projections.Tables() {
			file := archive.DataFolder + name + ".json"
			if !l.from.Has(file) || name == "workspace" {
				continue
			}
			sum := sha256.New()
			if err := l.c.writeTable(ctx, l.w, s, name, table{to: sum, columns: exportedColumns(name)}, func([]projections.StoredRow) {}); err != nil {
				return err
			}
			if hex.EncodeToString(sum.Sum(nil)) != l.from.File(file).SHA256 {
				return fmt.Errorf("the log was loaded, but the table %s that it makes differs from the one in the export: erase the workspace, and tell the maintainers", name)
			}
		}
		return nil
	})
	return compared && err == nil, err
}

// writeTable writes a read model of a snapshot, and calls each with every page.
func (c *Commands) writeTable(ctx context.Context, w pg.Workspace, s *projections.Snapshot, name string, t table, each func([]projections.StoredRow)) error {
	if err := t.begin(); err != nil {
		return err
	}
	err := s.Each(ctx, name, func(stored []projections.StoredRow) error {
		each(stored)
		rows, err := c.rows(ctx, w, stored)
		if err != nil {
			return err
		}
		return t.add(rows)
	})
	return errors.Join(err, t.end())
}
