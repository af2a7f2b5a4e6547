package commands

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/archive"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// ExportCounts is the progress of an export.
type ExportCounts struct {
	UpTo   int64 `json:"up_to" doc:"The position of the log at which the workspace is written; 0 before that is known."`
	Rows   int   `json:"rows" doc:"Written so far, of all tables."`
	Events int64 `json:"events" doc:"Written so far, of up_to."`
	Files  int   `json:"files" doc:"Files of tasks, written so far."`
	Bytes  int64 `json:"bytes" doc:"Of the archive, so far."`
}

// exporting is the writing of one archive.
type exporting struct {
	c      *Commands
	w      pg.Workspace
	id     uuid.UUID
	zip    *archive.Writer
	out    *outlet
	counts ExportCounts
	ticks  *time.Ticker // when the progress is stored

	manifest archive.Manifest
	epoch    int
}

// outlet counts and hashes the bytes that go into the store of blobs, and remembers why a write failed.
type outlet struct {
	to   io.Writer
	hash hash.Hash
	size int64
	err  error
}

func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	o.hash.Write(p[:n])
	if o.size += int64(n); err != nil {
		o.err = err
	}
	return n, err
}

// writeExport writes the archive of an export into the store of blobs, in constant memory.
func (c *Commands) writeExport(ctx context.Context, w pg.Workspace, x domain.Export) (domain.Event, error) {
	sealer, err := c.sealer(ctx, w, x.ID)
	if err != nil {
		return nil, err
	}
	now, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	e := &exporting{c: c, w: w, id: x.ID, ticks: ticks, out: &outlet{hash: sha256.New()}, manifest: archive.Manifest{Format: archive.Format, Version: archive.Version, At: now.UTC()}}
	var failed error
	err = c.Blobs.Put(ctx, exportKey(w, x.ID), func(to io.Writer) error {
		plain, err := sealer.Encrypt(to)
		if err != nil {
			return err
		}
		e.out.to = plain
		e.zip = archive.NewWriter(e.out, e.manifest.At)
		if failed = e.write(ctx, x.Position); failed == nil {
			failed = e.stillWaits(ctx)
		}
		if failed != nil {
			return failed
		}
		return plain.Close()
	})
	if err != nil && (failed == nil || e.out.err != nil) {
		return nil, c.noBlobs(ctx, w, x.ID, err)
	}
	if err != nil {
		return nil, err
	}
	return domain.ExportFinished{ExportID: x.ID, UpTo: e.manifest.UpTo, Size: e.out.size, Digest: hex.EncodeToString(e.out.hash.Sum(nil))}, nil
}

// write writes all files:
//
//  1. The read models and the log, of one snapshot of the database, which ends here.
//  2. The files of tasks, which take long and never change.
//  3. The checkpoint that proves the log, a readme, and the signed manifest.
func (e *exporting) write(ctx context.Context, asked int64) error {
	err := e.c.Projections.Snapshot(ctx, e.w, asked, func(s *projections.Snapshot) error {
		e.manifest.UpTo, e.manifest.Pruned, e.epoch, e.counts.UpTo = s.UpTo, s.Head.Pruned, s.Head.Epoch, s.UpTo
		e.c.Vault.ForgetAll(e.w) // else a key that is open here opens the names of somebody whom another process erased before the snapshot
		for _, name := range projections.Tables() {
			if err := e.table(ctx, s, name); err != nil {
				return err
			}
		}
		for _, step := range []func(context.Context, *projections.Snapshot) error{e.log, e.baselines, e.opened} {
			if err := step(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	for _, step := range []func(context.Context) error{e.attachments, e.proof, e.readme} {
		if err == nil {
			err = step(ctx)
		}
	}
	if err != nil {
		return err
	}
	e.manifest.Schema = e.c.Tenancy.Newest()
	err = e.zip.Finish(e.manifest, func(text []byte) ([]byte, error) {
		signers, err := e.c.Keys.Signers(e.manifest.Origin)
		if err != nil {
			return nil, err
		}
		return archive.Sign(e.manifest.Origin, text, signers...)
	})
	e.storeProgress(ctx, true)
	return err
}

// table writes a read model as JSON and as CSV.
func (e *exporting) table(ctx context.Context, s *projections.Snapshot, name string) error {
	columns := exportedColumns(name)
	for _, form := range []string{"json", "csv"} {
		err := e.zip.Add(archive.DataFolder+name+"."+form, func(to io.Writer, n *int) error {
			t := table{to: to, columns: columns}
			if form == "csv" {
				t.csv = csv.NewWriter(to)
			}
			err := e.c.writeTable(ctx, e.w, s, name, t, func(stored []projections.StoredRow) {
				if ws, is := stored[0].State.(domain.Workspace); is {
					e.manifest.Workspace = archive.Workspace{ID: ws.ID, Slug: ws.Slug, Name: ws.Name, Plan: ws.Plan}
				}
				*n += len(stored)
				e.counts.Rows += len(stored)
				e.storeProgress(ctx, false)
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// log writes the records as a replay serves them. When the log was pruned, the record that says so must be among them.
func (e *exporting) log(ctx context.Context, s *projections.Snapshot) error {
	told := s.Head.Pruned == 0
	err := e.zip.Add(archive.LogName, func(to io.Writer, n *int) error {
		var line []byte
		return s.Log(ctx, func(records []projections.Record) error {
			for _, r := range records {
				told = told || projections.PrunedIn(r).UpTo == s.Head.Pruned
				line = append(r.AppendLine(line[:0]), '\n')
				if _, err := to.Write(line); err != nil {
					return err
				}
			}
			*n += len(records)
			e.counts.Events += int64(len(records))
			e.storeProgress(ctx, false)
			return nil
		})
	})
	if err == nil && !told {
		err = domain.Refuse(domain.Unavailable, "log_pruned", "the log was pruned while the export was written: the export begins again")
	}
	return err
}

// openedLine has the sealed fields of a record, or of a baseline, in clear.
type openedLine struct {
	Model    string            `json:"model,omitempty"`    // of a baseline
	ID       uuid.UUID         `json:"id,omitzero"`        // of a baseline
	Position int64             `json:"position,omitempty"` // of a record
	Fields   map[string]string `json:"fields,omitempty"`   // of the data of a record, or of the state of a baseline
	Meta     *sealedOrigin     `json:"meta,omitempty"`
}

// opened writes the sealed fields of the log in clear, because the reader of an export has no keys.
func (e *exporting) opened(ctx context.Context, s *projections.Snapshot) error {
	return e.zip.Add(archive.OpenedName, func(to io.Writer, n *int) error {
		lines := json.NewEncoder(to)
		write := func(opened []openedLine, err error) error {
			for _, line := range opened {
				if err == nil {
					err = lines.Encode(line)
				}
			}
			*n += len(opened)
			e.storeProgress(ctx, false)
			return err
		}
		if s.Head.Pruned > 0 {
			if err := eventstore.EveryBaseline(ctx, s.Run, s.Head.Pruned, func(page []eventstore.Baseline) error {
				return write(e.c.openBaselines(ctx, e.w, page))
			}); err != nil {
				return err
			}
		}
		return s.Log(ctx, func(records []projections.Record) error { return write(e.c.openRecords(ctx, e.w, records)) })
	})
}

// openRecords opens the sealed fields of records. A record without sealed fields, or with those of erased members only, gives no line.
func (c *Commands) openRecords(ctx context.Context, w pg.Workspace, records []projections.Record) (lines []openedLine, err error) {
	origins, err := c.OpenOrigins(ctx, w, records)
	if err != nil {
		return nil, err
	}
	var members []uuid.UUID
	for _, r := range records {
		if id, fields := sealedIn(r); fields != nil {
			members = append(members, id)
		}
	}
	keys, err := c.Vault.Keys(ctx, w, unique(members))
	if err != nil {
		return nil, err
	}
	for i, r := range records {
		line := openedLine{Position: r.Position}
		if o := origins[i]; o != (Origin{}) {
			line.Meta = &sealedOrigin{UserAgent: o.UserAgent, TokenID: o.Token}
			if o.IP.IsValid() {
				line.Meta.IP = o.IP.String()
			}
		}
		id, fields := sealedIn(r)
		line.Fields = openFields(keys, id, fields)
		if line.Meta != nil || line.Fields != nil {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// openFields opens fields that are sealed under the data key of a member; nil when none opens.
func openFields(keys map[uuid.UUID]vault.Key, member uuid.UUID, sealed map[string]string) (fields map[string]string) {
	key, there := keys[member]
	if !there {
		return nil
	}
	for name, token := range sealed {
		if plain, err := key.Open(sealedAs[name], token); err == nil {
			if fields == nil {
				fields = map[string]string{}
			}
			fields[name] = plain
		}
	}
	return fields
}

// attachments writes the files of tasks. A file that was deleted since the snapshot, or is lost, is named in the manifest.
func (e *exporting) attachments(ctx context.Context) error {
	for after := uuid.Nil; ; {
		found, err := e.c.Projections.AttachmentsAt(ctx, e.w, e.manifest.UpTo, after)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, a := range found {
			if err := e.attachment(ctx, a); err != nil {
				return err
			}
		}
		after = found[len(found)-1].ID
	}
}

func (e *exporting) attachment(ctx context.Context, a domain.Attachment) error {
	content, err := e.c.openBlob(ctx, e.w, BlobKey(e.w, a.ID), a.ID, a.Size)
	if errors.Is(err, blob.ErrMissing) {
		reason := "it is lost: it was not in the backup that was put back, or somebody deleted it from the store of files"
		if a.DeletedAt != nil {
			reason = "it was deleted while the export was written"
		}
		e.manifest.Missing = append(e.manifest.Missing, archive.Missing{ID: a.ID, Reason: reason})
		return nil
	}
	if err != nil {
		return err
	}
	defer content.Close()
	return e.zip.AddStored(archive.FilesFolder+a.ID.String()+"/"+fileInZip(a.Name), func(to io.Writer, _ *int) error {
		if _, err := io.Copy(to, content); err != nil {
			return fmt.Errorf("attachment %s: %w", a.ID, err)
		}
		e.counts.Files++
		e.storeProgress(ctx, false)
		return nil
	})
}

// fileInZip is the name of a file in the archive. Every operating system accepts it.
func fileInZip(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>:"|?*\/`, r) || r < ' ' {
			return '_'
		}
		return r
	}, name)
	return strings.TrimRight(name, ". ") + strings.Repeat("_", len(name)-len(strings.TrimRight(name, ". ")))
}

// proof writes the checkpoint at the position of the export, and the keys that verify it.
func (e *exporting) proof(ctx context.Context) error {
	var signed []byte
	var at checkpoint.Checkpoint
	err := retryOutage(ctx, func() (err error) {
		if signed, at, err = e.c.Checkpoint(ctx, e.w); err == nil && at.Size != e.manifest.UpTo {
			signed, at, err = e.c.sign(ctx, e.w, e.manifest.UpTo, at.Origin.Epoch)
		}
		return err
	})
	if err == nil && at.Origin.Epoch != e.epoch {
		err = domain.Refuse(domain.Unavailable, "log_restored", "a backup was put back while the export was written: the export begins again")
	}
	if err != nil {
		return err
	}
	e.manifest.Origin = at.Origin.String()
	public, err := e.c.publicKeys(ctx)
	if err != nil {
		return err
	}
	var keys strings.Builder
	for _, key := range public {
		text, err := key.VerifierKey(e.manifest.Origin)
		if err != nil {
			return err
		}
		keys.WriteString(text + "\n")
	}
	for name, text := range map[string]string{archive.SignedName: string(signed), archive.KeysName: keys.String()} {
		if err := e.text(name, text); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporting) readme(context.Context) error { return e.text("README.txt", exportReadme) }

func (e *exporting) text(name, text string) error {
	return e.zip.Add(name, func(to io.Writer, _ *int) error { _, err := io.WriteString(to, text); return err })
}

// storeProgress stores the progress of the export, about once a second, and at its end.
func (e *exporting) storeProgress(ctx context.Context, end bool) {
	select {
	case <-e.ticks.C:
	default:
		if !end {
			return
		}
	}
	e.counts.Bytes = e.out.size
	text, err := json.Marshal(e.counts)
	if err == nil {
		err = e.c.DB.Do(ctx, e.w, projections.StoreExportRun(e.id, string(text)))
	}
	if err != nil && ctx.Err() == nil {
		e.c.Log.WarnContext(ctx, "the progress of an export could not be stored", "export", e.id, "error", err.Error())
	}
}

const exportReadme = `This is everything that a workspace of Kluis had at one moment.

data/           each kind of thing as JSON and as CSV. Things in the trash and members who left are there too: their "label" says so.
                In CSV, a text that a spreadsheet would take for a formula begins with an apostrophe.
log/events.ndjson   every event, one on a line, as GET /api/audit/replay serves it
log/opened.ndjson   the encrypted fields of those lines in clear: names, addresses, and the origin of requests
log/baselines.ndjson, log/edge      only of a pruned log: the states that the pruned records made, one thing on a line (log.pruned in the log has the SHA-256
                of the file), and the hashes from which the Merkle tree goes on
log/checkpoint, log/verifier-keys   these prove that the log is whole: kluis verify --file log/events.ndjson --checkpoint log/checkpoint --key log/verifier-keys
attachments/    the files of tasks: <id of the attachment>/<name>
manifest.json   the size and the SHA-256 of each file, and which files of tasks are missing, and why
manifest.sig    a signed note (C2SP) over the SHA-256 of manifest.json

The archive has no passwords, codes, tokens, secrets of second factors or keys.
It has personal data: protect it as you protect the workspace.

kluis import FILE.zip makes a workspace of the archive, in this installation or in another one.
`
