package promises

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/archive"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// opened is the file of an export, as anybody reads it who knows nothing of Kluis.
type opened struct {
	archive.Manifest
	files map[string]string
}

func (c *client) download(t tester, x domain.Export) []byte {
	t.Helper()
	a := c.call(t, "GET", "/api/export/"+x.ID.String()+"/content", nil).want(t, 200)
	sum := sha256.Sum256(a.body)
	if hex.EncodeToString(sum[:]) != x.Digest || int64(len(a.body)) != x.Size {
		t.Fatalf("the file has %d bytes and the hash %x, the export says %d and %s", len(a.body), sum, x.Size, x.Digest)
	}
	return a.body
}

// unpack reads the file of an export, and holds it against its manifest.
func unpack(t tester, file []byte) opened {
	t.Helper()
	z := must(zip.NewReader(bytes.NewReader(file), int64(len(file))))
	o := opened{files: map[string]string{}}
	for _, f := range z.File {
		r := must(f.Open())
		o.files[f.Name] = string(must(io.ReadAll(r)))
	}
	if err := json.Unmarshal([]byte(o.files[archive.ManifestName]), &o.Manifest); err != nil {
		t.Fatal(err)
	}
	if len(o.Files) != len(o.files)-2 {
		t.Errorf("the manifest has %d files, and there are %d besides", len(o.Files), len(o.files)-2)
	}
	for _, f := range o.Files {
		if sum := sha256.Sum256([]byte(o.files[f.Name])); hex.EncodeToString(sum[:]) != f.SHA256 || int64(len(o.files[f.Name])) != f.Size {
			t.Errorf("%s is not what the manifest says", f.Name)
		}
	}
	return o
}

// verify checks the log in the file, with the keys and the checkpoint in it, and gives it folded.
func (o opened) verify(t tester) map[string]json.RawMessage {
	t.Helper()
	var keys keyring.PublicKeys
	for _, line := range strings.Fields(o.files[archive.KeysName]) {
		keys = append(keys, must(keyring.ParseVerifierKey(line)))
	}
	at := must(checkpoint.Open([]byte(o.files[archive.SignedName]), keys))
	marks := []eventstore.Mark{{Checkpoint: at, Name: "export"}}
	verdict := must(eventstore.VerifyFile(strings.NewReader(o.files[archive.LogName]), projections.Expected(pg.Workspace{ID: at.Origin.Workspace}, marks, 1), nil))
	if len(verdict.Findings) > 0 || verdict.Marks != 1 || verdict.Records != o.UpTo {
		t.Fatalf("the log of the export: %+v", verdict)
	}
	var records []domain.Record
	for line := range strings.Lines(o.files[archive.LogName]) {
		var r struct {
			Position int64           `json:"position"`
			Stream   string          `json:"stream"`
			Version  int             `json:"version"`
			Type     string          `json:"type"`
			At       time.Time       `json:"at"`
			Actor    *uuid.UUID      `json:"actor"`
			Data     json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		record := domain.Record{Position: r.Position, Stream: r.Stream, Version: r.Version, At: r.At, Event: must(domain.Decode(r.Type, r.Data)), Original: domain.OriginalOf(r.Data)}
		if r.Actor != nil {
			record.Actor = *r.Actor
		}
		records = append(records, record)
	}
	return must(projections.Folded(records))
}

// rows are those of a table, by id.
func (o opened) rows(t tester, table string) map[string]map[string]any {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(o.files["data/"+table+".json"]), &list); err != nil {
		t.Fatalf("%s: %v", table, err)
	}
	rows := map[string]map[string]any{}
	for _, r := range list {
		rows[fmt.Sprint(r["id"])] = r
	}
	cells := must(csv.NewReader(strings.NewReader(o.files["data/"+table+".csv"])).ReadAll())
	if len(cells) != len(list)+1 || len(rows) != len(list) {
		t.Errorf("%s has %d rows in JSON, %d ids, and %d lines of CSV", table, len(list), len(rows), len(cells))
	}
	return rows
}

// While many write, an export is one moment: the log in it verifies, what its log folds to is what its tables have, and nothing is in it
// that came later.
func TestAnExportIsOneMoment(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, true)
	ada := p[0].signUp(t)
	var stop atomic.Bool
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			c := ada.on(p[i%2])
			for n := 0; !stop.Load() && n < 200; n++ {
				task := c.newTask(t)
				c.call(t, "POST", taskPath(task, "comments"), object{"body": "one of many"}).want(t, 201)
				c.call(t, "POST", taskPath(task, "complete"), object{}).want(t, 200)
			}
		})
	}
	x := ada.whole(t, ada.export(t))
	again := ada.on(p[1]).whole(t, ada.on(p[1]).export(t))
	stop.Store(true)
	writers.Wait()
	for _, x := range []domain.Export{x, again} {
		o := unpack(t, ada.download(t, x))
		folded := o.verify(t)
		if o.UpTo != x.UpTo {
			t.Errorf("the manifest says position %d, and the export %d", o.UpTo, x.UpTo)
		}
		for _, table := range projections.Tables() {
			var want []map[string]any
			if err := json.Unmarshal(folded[table], &want); err != nil {
				t.Fatal(err)
			}
			rows := o.rows(t, table)
			if len(rows) != len(want) {
				t.Errorf("%s has %d rows, and the log makes %d", table, len(rows), len(want))
			}
			for _, w := range want {
				got := rows[fmt.Sprint(w["id"])]
				for field, value := range w {
					if table == "member" && (field == "email" || field == "full_name") {
						continue // sealed in the log
					}
					if fmt.Sprint(got[field]) != fmt.Sprint(value) {
						t.Errorf("%s %v: %s is %v, and the log makes %v", table, w["id"], field, got[field], value)
					}
				}
			}
		}
	}
	ada.noDrift(t)
}

// What is in an export: names in clear, the trash and those who left with a label, files of tasks, formulas made harmless in CSV and left
// alone in JSON; and no secret.
func TestWhatIsInAnExport(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	grace := ada.member(t, "member")
	formula := `=HYPERLINK("http://x.example")`
	kept := decode[domain.Task](t, ada.call(t, "POST", "/api/tasks", object{"title": formula, "description": "@here\nand there"}).want(t, 201))
	gone := ada.newTask(t)
	file := ada.attach(t, kept, "a plan: final?.txt", "the bytes of a file")
	lost := ada.attach(t, kept, "lost.txt", "bytes that somebody takes away")
	deleted := ada.attach(t, kept, "deleted.txt", "bytes that go")
	ada.call(t, "DELETE", attachmentPath(deleted), nil).want(t, 204)
	ada.call(t, "DELETE", taskPath(gone), nil).want(t, 204)
	token := decode[struct{ Token string }](t, ada.call(t, "POST", "/api/tokens", object{"name": "robot", "expires_at": time.Now().Add(time.Hour), "grants": []object{{"resource": "task", "action": "read", "scope": "all"}}}).want(t, 201)).Token
	ada.call(t, "POST", "/api/integrations", object{"provider": "github", "name": "code", "access_token": "oauth-secret-of-a-test"}).want(t, 201)
	ada.call(t, "POST", "/api/members/"+grace.id.String()+"/deactivate", object{}).want(t, 200)
	if err := os.Remove(filepath.Join(p.site.blobs, ada.workspace.ID.String(), lost.ID.String())); err != nil {
		t.Fatal(err)
	}

	o := unpack(t, ada.download(t, ada.exported(t)))
	o.verify(t)
	if row := o.rows(t, "member")[grace.id.String()]; row["email"] != grace.email || row["label"] != "deactivated" {
		t.Errorf("who was deactivated: %v", row)
	}
	if row := o.rows(t, "task")[gone.ID.String()]; row["label"] != "in the trash" {
		t.Errorf("what is in the trash: %v", row)
	}
	if row := o.rows(t, "task")[kept.ID.String()]; row["title"] != formula || row["label"] != "" {
		t.Errorf("a task: %v", row)
	}
	if csv := o.files["data/task.csv"]; !strings.Contains(csv, `"'=HYPERLINK(`) || !strings.Contains(csv, "'@here") {
		t.Errorf("formulas in CSV: %s", csv)
	}
	if got := o.files["attachments/"+file.ID.String()+"/a plan_ final_.txt"]; got != "the bytes of a file" {
		t.Errorf("the file of a task: %q", got)
	}
	if len(o.Missing) != 1 || o.Missing[0].ID != lost.ID {
		t.Errorf("missing: %+v", o.Missing)
	}
	if !strings.Contains(o.files[archive.OpenedName], ada.email) || strings.Contains(o.files[archive.LogName], ada.email) {
		t.Error("names are sealed in the log, and opened beside it")
	}
	for name, text := range o.files {
		for _, secret := range []string{ada.token, token, "oauth-secret-of-a-test", ada.password, "$argon2", "wrapped", "digest\":\"\\\\x"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has a secret: %q", name, secret)
			}
		}
	}
	noSecretColumn(t, o)
}

// noSecretColumn: what the registry calls secret is in no table of an export.
func noSecretColumn(t tester, o opened) {
	t.Helper()
	for _, place := range domain.Places(domain.InWorkspace) {
		header, _, _ := strings.Cut(o.files["data/"+place.Name+".csv"], "\r\n")
		for _, column := range strings.Split(header, ",") {
			if domain.Secret(domain.InWorkspace, place.Name, column) {
				t.Errorf("%s.%s is secret, and in the export", place.Name, column)
			}
		}
	}
}

// Whoever asks twice at once gets the same export, also by way of two processes; each key has one effect.
func TestOneExportAtATime(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	var mu sync.Mutex
	ids := map[uuid.UUID]bool{}
	parallel(16, func(i int) {
		key := fmt.Sprint("Idempotency-Key: key ", i%4)
		x := decode[domain.Export](t, ada.on(p[i%2]).retried(t, "POST", "/api/export", object{}, key))
		mu.Lock()
		defer mu.Unlock()
		ids[x.ID] = true
	})
	if len(ids) != 1 {
		t.Errorf("%d exports: %v", len(ids), ids)
	}
	for id := range ids {
		again := decode[domain.Export](t, ada.call(t, "POST", "/api/export", object{}, "Idempotency-Key: key 1").want(t, 202))
		if again.ID != id {
			t.Errorf("the key says %s, and it was %s", again.ID, id)
		}
		ada.call(t, "GET", "/api/export/"+id.String()+"/content", nil).problem(t, 409, "export_under_way")
	}
}

// retried asks until no other request with the key is under way.
func (c *client) retried(t tester, method, target string, body any, headers ...string) reply {
	t.Helper()
	for {
		if a := c.call(t, method, target, body, headers...); a.status != 409 {
			return a.want(t, 202)
		}
	}
}

// The file is for the admin who asked, as long as they are one, and for a day; each download is in the log.
func TestWhoseExport(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	grace, other := ada.member(t, "admin"), p.signUp(t)
	x := grace.exported(t)
	at := "/api/export/" + x.ID.String() + "/content"
	ada.call(t, "GET", at, nil).problem(t, 403, "export_of_another")
	other.call(t, "GET", at, nil).want(t, 404)
	grace.download(t, x)
	part := grace.call(t, "GET", at, nil, "Range: bytes=0-3").want(t, 206)
	if string(part.body) != "PK\x03\x04" {
		t.Errorf("a part: %q", part.body)
	}
	downloads := 0
	for _, r := range ada.log(t) {
		if r.Type == "export.downloaded" && *r.Actor == grace.id {
			downloads++
		}
	}
	if downloads != 2 {
		t.Errorf("%d downloads are in the log", downloads)
	}
	ada.call(t, "PATCH", "/api/members/"+grace.id.String(), object{"role": "manager"}).want(t, 200)
	grace.call(t, "GET", at, nil).want(t, 403)
	ada.call(t, "PATCH", "/api/members/"+grace.id.String(), object{"role": "admin"}).want(t, 200)
	grace.call(t, "GET", at, nil).want(t, 200)

	ada.aDayLater(t)
	grace.call(t, "GET", at, nil).problem(t, 404, "export_expired")
}

// aDayLater has exports be past their time.
func (c *client) aDayLater(t tester) {
	t.Helper()
	if err := c.db.Do(context.Background(), c.workspace, pg.Exec(`update export set expires_at = now() - interval '1 second'`)); err != nil {
		t.Fatal(err)
	}
}

// A file that expired is swept, and the log says so; so is one that nobody knows.
func TestExportsAreSwept(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	x := ada.exported(t)
	if _, err := p.jobs.SweepBlobs(context.Background(), x.CreatedAt.Add(1e15)); err != nil { // everything is old
		t.Fatal(err)
	}
	ada.download(t, x)
	ada.aDayLater(t)
	if _, err := p.jobs.SweepBlobs(context.Background(), x.CreatedAt); err != nil {
		t.Fatal(err)
	}
	if files := p.site.blobFiles(t); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
	log := ada.log(t)
	if last := log[len(log)-1]; last.Type != "export.expired" {
		t.Errorf("the last event of the log is %s", last.Type)
	}
}

// Somebody who is erased while an export is written is not in its file.
func TestAnExportOfWhoIsErasedMeanwhile(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	for round := range 12 {
		bob := ada.member(t, "member")
		x := ada.export(t)
		parallel(2, func(i int) {
			if i == 0 {
				if err := p[0].commands.RunExport(t.Context(), ada.workspace, x.ID); err != nil {
					t.Error(err)
				}
			} else {
				time.Sleep(time.Duration(round) * 10 * time.Millisecond)
				ada.on(p[round%2]).call(t, "POST", "/api/members/"+bob.id.String()+"/erase", nil).want(t, 200)
			}
		})
		a := ada.call(t, "GET", "/api/export/"+x.ID.String()+"/content", nil)
		if a.status != 200 {
			continue
		}
		for _, f := range must(zip.NewReader(bytes.NewReader(a.body), int64(len(a.body)))).File {
			if text := must(io.ReadAll(must(f.Open()))); bytes.Contains(text, []byte(bob.email)) || bytes.Contains(text, []byte(bob.name)) {
				t.Errorf("round %d: %s has who was erased", round, f.Name)
			}
		}
	}
}

// A file of a task that does not open ends the export, and says so; the next one may succeed.
func TestAnExportThatFails(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	a := ada.attach(t, ada.newTask(t), "a.txt", "the bytes of a file")
	at := filepath.Join(p.site.blobs, ada.workspace.ID.String(), a.ID.String())
	whole := must(os.ReadFile(at))
	broken := bytes.Clone(whole)
	broken[len(broken)-1] ^= 1
	if err := os.WriteFile(at, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	x := ada.export(t)
	if err := p.commands.RunExport(t.Context(), ada.workspace, x.ID); err != nil {
		t.Fatal(err)
	}
	x = decode[domain.Export](t, ada.call(t, "GET", "/api/export/"+x.ID.String(), nil).want(t, 200))
	if x.Status != domain.ExportFailed || x.Failure == "" {
		t.Errorf("%+v", x)
	}
	ada.call(t, "GET", "/api/export/"+x.ID.String()+"/content", nil).problem(t, 409, "export_failed")
	if err := os.WriteFile(at, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	ada.download(t, ada.exported(t))
}
