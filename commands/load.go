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
	Pruned eventstore.Pruned // the records before its log; nothing of one that has the first
	edge   []tlog.Hash       // of the tree over them
}

// VerifyArchive tells whether an export is whole, and what it says it is: the signature of its manifest, each file, the log against its
// checkpoint, line by line, and what pruned records left against the log. known are keys that must have signed it; when there are none, those in
// the archive itself do, which shows that it is whole, and not whose it is. Nothing of it is stored.
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
		return nil, fmt.Errorf("its manifest says that the records up to %d were pruned, and its log begins behind %d", r.Manifest.Pruned, verdict.Pruned)
	}
	if verdict.Pruned == 0 {
		whole.Pruned = eventstore.Pruned{}
		return whole, nil
	}
	return whole, whole.checkPruned()
}

// checkPruned compares what the pruned records left with what the log says.
func (a *WholeArchive) checkPruned() error {
	if a.File(archive.BaselinesName).SHA256 != a.Pruned.Baselines {
		return fmt.Errorf("%q is not what the records up to %d made, as the log says it", archive.BaselinesName, a.Pruned.UpTo)
	}
	text, err := a.Small(archive.EdgeName)
	if err == nil {
		a.edge, err = parseEdge(text)
	}
	if err == nil && !eventstore.CheckEdge(a.Pruned.UpTo, a.edge, a.Pruned.Root) {
		err = fmt.Errorf("%q is not of the tree over the records up to %d, as the log says it", archive.EdgeName, a.Pruned.UpTo)
	}
	return err
}

// signedArchive gives the checkpoint of an archive whose manifest one of the keys has signed.
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
		return at, fmt.Errorf("its checkpoint is of %s at %d, and its manifest of %s at %d", at.Origin, at.Size, r.Manifest.Origin, r.Manifest.UpTo)
	}
	return at, nil
}

// ParseVerifierKeys reads verifier keys, a line each, for whatever name.
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

// LoadArchive makes a workspace of an export that VerifyArchive found to be whole, under a slug that nobody has:
//
//  1. In one transaction the workspace is made, with the log of the export: the same records, with their positions, times and authors. What
//     is sealed in them is sealed anew, and the stream of the workspace is that of the new one. Behind them an event tells where they are
//     from, and what their root was there. A log that was pruned goes on from its baselines, which are sealed anew as well.
//  2. The files of tasks go to the store of blobs, encrypted under keys of the new workspace.
//  3. The read models are derived, and compared with those of the export.
//
// Killed before the end of 1, it leaves nothing. Killed behind it, or without room for the files, it goes on there when it is called again with
// the same export and slug. Nobody has a password then: members choose one by the mail for a forgotten one. A difference in 3 is an error; the
// workspace is there to be looked at, and to be erased. said is called after each step; it may be nil.
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
	Compared  bool // its read models are those of the export; else others changed it before they could be compared
}

// loader is the loading of one archive.
type loader struct {
	c      *Commands
	w      pg.Workspace
	from   *WholeArchive
	event  domain.WorkspaceImported // that tells of it
	own    vault.Key
	keys   map[uuid.UUID]vault.Key
	insert []pg.Statement // of keys
	emails map[uuid.UUID]string
}

// begin refuses what cannot be loaded, and finds what an earlier call has begun of the same.
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
		return false, domain.Refuse(domain.Conflict, "slug_taken", "there is, or was, a workspace %s: an export makes a workspace of its own; say another name for it", slug)
	case m.Schema > l.c.Tenancy.Newest():
		return false, fmt.Errorf("the export is of schema %d, and this program knows those up to %d: use a newer kluis", m.Schema, l.c.Tenancy.Newest())
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
	if told.Baselines = ""; told != l.event { // which are sealed anew by each call
		return false, nil
	}
	l.w = e.Workspace()
	l.own, err = l.c.Vault.Key(ctx, l.w, l.w.ID)
	return err == nil, err
}

// load does step 1.
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
			return fmt.Errorf("the log is loaded, and not all files of tasks: run the same command again, which goes on with them: %w", err)
		}
	}
	return nil
}

func (l *loader) file(ctx context.Context, name string) error {
	text, _, _ := strings.Cut(strings.TrimPrefix(name, archive.FilesFolder), "/")
	id, err := uuid.Parse(text)
	if err != nil {
		return fmt.Errorf("%q is of no attachment", name)
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

// log loads the baselines and the records, with what is sealed in them sealed anew: what is opened is read side by side with both.
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

// record is the next one of the log, sealed anew; false behind the last.
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
		r, err = l.anew(r, known)
	}
	return r, err == nil, err
}

// anew is a record as the new workspace has it.
func (l *loader) anew(r eventstore.Record, clear openedLine) (eventstore.Record, error) {
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
	if gone, is := l.left(r); is {
		delete(l.emails, gone)
	}
	if len(clear.Fields) == 0 || sealed == nil {
		return r, nil
	}
	var err error
	r.Data, err = l.sealAnew(member, sealed, clear.Fields, r.Data)
	return r, err
}

// sealAnew seals fields of somebody, of which the clear ones are known, where they stand in data.
func (l *loader) sealAnew(member uuid.UUID, sealed, clear map[string]string, data json.RawMessage) (json.RawMessage, error) {
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

// left tells whether a record is the end of somebody's membership.
func (l *loader) left(r eventstore.Record) (member uuid.UUID, left bool) {
	if r.Type != domain.TypeOf(domain.MemberRemoved{}) && r.Type != domain.TypeOf(domain.MemberErased{}) {
		return uuid.Nil, false
	}
	var of struct {
		MemberID uuid.UUID `json:"member_id"`
	}
	return of.MemberID, json.Unmarshal(r.Data, &of) == nil
}

// sealMeta seals an origin as it was opened. Of a subject who was erased it has a token at most, for which no key is made.
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

// key is the data key of somebody, made when it is first needed: who was erased there has none here.
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

// compare derives the read models and holds them against the tables of the export, byte by byte, unless others have changed the workspace since.
// That of the workspace itself has another id, and maybe another slug.
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
				return fmt.Errorf("the log was loaded, and what it makes in %s is not what the export has there: erase the workspace, and tell the maintainers", name)
			}
		}
		return nil
	})
	return compared && err == nil, err
}

// writeTable writes a read model of a snapshot; each is told of every page.
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
