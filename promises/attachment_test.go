package promises

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/blob/blobtest"
)

// blobs are the files in the folder of blobs, with what is in them.
func (s *site) blobFiles(t tester) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	if err := filepath.WalkDir(s.blobs, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[must(filepath.Rel(s.blobs, path))] = data
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// A file comes back as it went, by whoever sees the task; what is known of it is right; what is stored says nothing.
func TestAttachment(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	content := strings.Repeat("The quick brown fox. ", 10_000)
	added := ada.attach(t, task, "Über größe.txt", content)
	sum := sha256.Sum256([]byte(content))
	if added.Name != "Über größe.txt" || added.Size != int64(len(content)) || added.Type != "text/plain; charset=utf-8" || added.Digest != hex.EncodeToString(sum[:]) ||
		added.TaskID != task.ID || added.CreatedBy != ada.id || added.Version != 1 {
		t.Errorf("%+v", added)
	}
	if got := decode[domain.Attachment](t, ada.on(p[1]).call(t, "GET", attachmentPath(added), nil).want(t, 200)); got != added {
		t.Errorf("%+v, not %+v", got, added)
	}
	other := ada.attach(t, task, "b.bin", "")
	if listed := pages[domain.Attachment](t, ada, taskPath(task, "attachments"), 1); len(listed) != 2 || listed[0] != other || listed[1] != added {
		t.Errorf("%+v", listed)
	}
	a := ada.on(p[1]).call(t, "GET", attachmentPath(added, "content"), nil).want(t, 200)
	if string(a.body) != content {
		t.Error("it came back as something else")
	}
	for name, want := range map[string]string{"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"ETag": `"` + added.Digest + `"`, "Accept-Ranges": "bytes", "Content-Length": fmt.Sprint(len(content)),
		"Content-Disposition": `attachment; filename="_ber gr__e.txt"; filename*=UTF-8''%C3%9Cber%20gr%C3%B6%C3%9Fe.txt`} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	if a := ada.call(t, "GET", attachmentPath(other, "content"), nil).want(t, 200); len(a.body) != 0 {
		t.Errorf("%d bytes", len(a.body))
	}
	stored := p[0].site.blobFiles(t)
	if len(stored) != 2 {
		t.Errorf("%d blobs", len(stored))
	}
	for key, data := range stored {
		if key != ada.workspace.ID.String()+"/"+added.ID.String() && key != ada.workspace.ID.String()+"/"+other.ID.String() || bytes.Contains(data, []byte("quick")) || bytes.Contains(data, []byte("größe.txt")) {
			t.Errorf("%s says what it is", key)
		}
	}
	ada.call(t, "DELETE", attachmentPath(added), nil).want(t, 204)
	ada.call(t, "GET", attachmentPath(added), nil).problem(t, 404, "attachment_not_found")
	ada.on(p[1]).call(t, "GET", attachmentPath(added, "content"), nil).problem(t, 404, "attachment_not_found")
	if len(p[0].site.blobFiles(t)) != 1 {
		t.Error("the bytes are there still")
	}
	story := decode[list[struct{ Type string }]](t, ada.call(t, "GET", attachmentPath(added, "history"), nil).want(t, 200)).Items
	if n := len(story); n < 2 || story[0].Type != "attachment.added" || story[n-1].Type != "attachment.deleted" { // a line for each field
		t.Errorf("%+v", story)
	}
	ada.judge(t)
	ada.noDrift(t)
}

// Parts of a file, as RFC 9110 has them, and HEAD.
func TestAttachmentRanges(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	content := make([]byte, 200_000) // some chunks
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	added := ada.attach(t, ada.newTask(t), "a.bin", string(content))
	at, tag := attachmentPath(added, "content"), `"`+added.Digest+`"`
	for _, c := range []struct {
		headers  string
		status   int
		from, to int
	}{
		{"Range: bytes=0-0", 206, 0, 1},
		{"Range: bytes=65535-65536", 206, 65535, 65537},
		{"Range: bytes=100-150000", 206, 100, 150_001},
		{"Range: bytes=199999-", 206, 199_999, 200_000},
		{"Range: bytes=-1", 206, 199_999, 200_000},
		{"Range: bytes=-999999", 206, 0, 200_000},
		{"Range: bytes=0-999999", 206, 0, 200_000},
		{"Range: bytes=200000-", 416, 0, 0},
		{"Range: bytes=-0", 200, 0, 200_000},
		{"Range: bytes=0-1,5-6", 200, 0, 200_000}, // passed over, as RFC 9110 allows
		{"Range: lines=1-2", 200, 0, 200_000},
		{"Range: bytes=", 200, 0, 200_000},
		{"Range: bytes=5-1", 416, 0, 0},
		{"Range: bytes=0-1|If-Range: " + tag, 206, 0, 2},
		{`Range: bytes=0-1|If-Range: "other"`, 200, 0, 200_000},
		{"Range: bytes=0-1|If-Range: W/" + tag, 200, 0, 200_000},
		{"If-None-Match: " + tag, 304, 0, 0},
		{`If-None-Match: "a", ` + tag, 304, 0, 0},
		{`If-None-Match: "other"`, 200, 0, 200_000},
	} {
		a := ada.call(t, "GET", at, nil, strings.Split(c.headers, "|")...)
		if a.status != c.status {
			t.Errorf("%s: %d", c.headers, a.status)
			continue
		}
		switch c.status {
		case 416:
			a.problem(t, 416, "range_not_satisfiable")
			if a.header.Get("Content-Range") != "bytes */200000" && !strings.Contains(c.headers, "5-1") || a.header.Get("Content-Disposition") != "" {
				t.Errorf("%s: %v", c.headers, a.header)
			}
		case 206:
			if want := fmt.Sprintf("bytes %d-%d/200000", c.from, c.to-1); a.header.Get("Content-Range") != want || a.header.Get("ETag") != tag {
				t.Errorf("%s: %v", c.headers, a.header)
			}
		}
		if c.status < 400 && !bytes.Equal(a.body, content[c.from:c.to]) {
			t.Errorf("%s: %d bytes, not %d to %d", c.headers, len(a.body), c.from, c.to)
		}
	}
	a := ada.call(t, "HEAD", at, nil).want(t, 200)
	if a.header.Get("Content-Length") != "200000" || a.header.Get("ETag") != tag || len(a.body) != 0 {
		t.Errorf("HEAD: %v", a.header)
	}
}

// Whatever is uploaded, no browser runs it: it is saved, under a name that is no path and shows as it is.
func TestAttachmentsAreNeverTrusted(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	svg := `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`
	for content, types := range map[string][2]string{
		"<!DOCTYPE html><script>alert(1)</script>": {"text/html; charset=utf-8", "application/octet-stream"},
		"<html><body>x":                       {"text/html; charset=utf-8", "application/octet-stream"},
		svg:                                   {"image/svg+xml", "application/octet-stream"},
		`<?xml version="1.0"?>` + svg:         {"image/svg+xml", "application/octet-stream"},
		`<?xml version="1.0"?><a/>`:           {"text/xml; charset=utf-8", "application/octet-stream"},
		"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR": {"image/png", "image/png"},
		"%PDF-1.7\n<script>":                  {"application/pdf", "application/pdf"},
		"MZ\x90\x00\x03\x00":                  {"application/vnd.microsoft.portable-executable", "application/octet-stream"},
		"#!/usr/bin/env node\nalert(1)":       {"text/javascript", "application/octet-stream"},
		"alert(1)":                            {"text/plain; charset=utf-8", "text/plain; charset=utf-8"},
		"":                                    {"text/plain", "text/plain"},
		"\x00\x01\x02\x03":                    {"application/octet-stream", "application/octet-stream"},
	} {
		a := ada.attach(t, task, "picture.png", content)
		got := ada.call(t, "GET", attachmentPath(a, "content"), nil).want(t, 200)
		if a.Type != types[0] || got.header.Get("Content-Type") != types[1] || !strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment;") ||
			got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Content-Security-Policy") != "sandbox; default-src 'none'" {
			t.Errorf("%.30q is %s: %v", content, a.Type, got.header)
		}
	}
	for sent, name := range map[string]string{
		"a.txt": "a.txt", "../../etc/passwd": "passwd", `C:\Users\ann\secret.doc`: "secret.doc", "a/b/../c": "c", "  a b.txt ": "a b.txt", "e\u0301.txt": "é.txt",
		"photo\u202egpj.exe": "photogpj.exe", "a\u200bb": "ab", "a;b=c%d.txt": "a;b=c%d.txt", "❤\ufe0f.png": "❤.png", "-rf": "-rf", strings.Repeat("x", 255): strings.Repeat("x", 255),
		".htaccess": ".htaccess", "<b>.txt": "<b>.txt", "日本語.pdf": "日本語.pdf", "a'b.txt": "a'b.txt",
	} {
		a := ada.attach(t, task, sent, "x")
		got := ada.call(t, "GET", attachmentPath(a, "content"), nil).want(t, 200).header.Get("Content-Disposition")
		_, params, err := mime.ParseMediaType(got)
		// Go prefers filename* only where there is no filename, so the plain one is taken off
		_, extended, _ := strings.Cut(got, "; filename*=")
		_, decoded, _ := mime.ParseMediaType("attachment; filename*=" + extended)
		if a.Name != name || err != nil && decoded == nil || decoded["filename"] != name || strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q is stored as %q and served as %s (%v)", sent, a.Name, got, params)
		}
	}
	head := ada.head(t)
	for _, sent := range []string{"a\tb", "a\u2028b", "..", ".", `a\`, "\u200b", strings.Repeat("x", 256), strings.Repeat("é", 128), "\xff\xfe", "a\u0085b"} {
		got := ada.call(t, "POST", taskPath(task, "attachments"), object{"file": file{sent, "x"}})
		if got.problem(t, 422, "invalid").Errors[0].Pointer != "/file" {
			t.Errorf("%q: %s", sent, got.body)
		}
	}
	if ada.head(t) != head || len(p[0].site.blobFiles(t)) != 12+16 {
		t.Errorf("something was stored: %d", len(p[0].site.blobFiles(t)))
	}
}

// An attachment is seen with its task, and in no other way.
func TestAttachmentsAreSeenWithTheirTasks(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task, hidden := ada.newTask(t), ada.newTask(t)
	viewer, member := ada.member(t, "viewer"), ada.member(t, "member")
	ada.call(t, "PUT", taskPath(task, "viewers", viewer.id), nil).want(t, 204)
	seen, unseen := ada.attach(t, task, "a", "1"), ada.attach(t, hidden, "b", "2")
	viewer.call(t, "GET", attachmentPath(seen), nil).want(t, 200)
	viewer.call(t, "GET", attachmentPath(seen, "content"), nil).want(t, 200)
	for _, target := range []string{attachmentPath(unseen), attachmentPath(unseen, "content"), attachmentPath(unseen, "history")} {
		viewer.call(t, "GET", target, nil).problem(t, 404, "attachment_not_found")
	}
	viewer.call(t, "GET", taskPath(hidden, "attachments"), nil).problem(t, 404, "task_not_found")
	viewer.call(t, "POST", taskPath(task, "attachments"), object{"file": file{"c", "3"}}).problem(t, 403, "forbidden")
	member.call(t, "DELETE", attachmentPath(seen), nil).problem(t, 403, "forbidden") // somebody else's
	own := member.attach(t, task, "d", "4")
	member.call(t, "DELETE", attachmentPath(own), nil).want(t, 204)
	ada.call(t, "DELETE", taskPath(task, "viewers", viewer.id), nil).want(t, 204)
	viewer.on(p[1]).call(t, "GET", attachmentPath(seen, "content"), nil).problem(t, 404, "attachment_not_found")
	ada.call(t, "DELETE", taskPath(task), nil).want(t, 204)
	for _, target := range []string{attachmentPath(seen), attachmentPath(seen, "content")} {
		ada.on(p[1]).call(t, "GET", target, nil).problem(t, 404, "attachment_not_found")
	}
	ada.call(t, "DELETE", attachmentPath(seen), nil).problem(t, 404, "attachment_not_found")
	ada.call(t, "POST", taskPath(task, "attachments"), object{"file": file{"c", "3"}}).problem(t, 404, "task_not_found")
	ada.call(t, "POST", taskPath(task, "restore"), nil).want(t, 200)
	if got := ada.call(t, "GET", attachmentPath(seen, "content"), nil).want(t, 200); string(got.body) != "1" {
		t.Errorf("%s", got.body)
	}
	ada.judge(t)
	ada.noDrift(t)
}

// The bytes of one attachment do not open as another's, whoever swaps them; what was changed or lost is never half served.
func TestSwappedBytesDoNotOpen(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada, eve := p[0].signUp(t), p[0].signUp(t)
	task := ada.newTask(t)
	content := strings.Repeat("x", 300_000)
	a, b, c := ada.attach(t, task, "a", content), ada.attach(t, task, "b", content), ada.attach(t, task, "c", content)
	foreign := eve.attach(t, eve.newTask(t), "a", content)
	at := func(c *client, a domain.Attachment) string {
		return filepath.Join(p[0].site.blobs, c.workspace.ID.String(), a.ID.String())
	}
	whole := must(os.ReadFile(at(ada, a)))
	for _, step := range []error{
		os.WriteFile(at(ada, b), whole, 0o600),
		os.WriteFile(at(eve, foreign), whole, 0o600),
		os.WriteFile(at(ada, a), whole[:len(whole)-70_000], 0o600),
		os.Remove(at(ada, c)),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	ada.call(t, "GET", attachmentPath(c, "content"), nil).problem(t, 404, "attachment_content_missing")
	for _, c := range []*client{ada, eve} { // unlike an answer of ours, it is what somebody did to the disk
		for _, x := range map[*client][]domain.Attachment{ada: {a, b}, eve: {foreign}}[c] {
			response := must(wire.Do(c.request(t, "GET", attachmentPath(x, "content"), nil))) //nolint:bodyclose // closed below
			body := must(io.ReadAll(response.Body))
			_ = response.Body.Close()
			if response.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), "xxx") {
				t.Errorf("%d: %.100s", response.StatusCode, body)
			}
		}
	}
	p[0].log.forget(`"level":"ERROR"`)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	if err := os.WriteFile(at(ada, a), flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	response := must(wire.Do(ada.request(t, "GET", attachmentPath(a, "content"), nil))) //nolint:bodyclose // closed below
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err == nil || len(body) >= len(content) {
		t.Errorf("a damaged file was served whole: %d bytes, %v", len(body), err)
	}
	p[0].log.forget(`"level":"ERROR"`)
}

// What no attachment needs is swept: at once what was deleted, and after its time what never became one.
func TestOrphansAreSwept(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	kept, gone := ada.attach(t, task, "a", "1"), ada.attach(t, task, "b", "2")
	folder := filepath.Join(p[0].site.blobs, ada.workspace.ID.String())
	bytesOf := must(os.ReadFile(filepath.Join(folder, gone.ID.String())))
	ada.call(t, "DELETE", attachmentPath(gone), nil).want(t, 204)
	orphan, stranger := uuid.NewString(), uuid.NewString()
	for _, name := range []string{filepath.Join(folder, gone.ID.String()), filepath.Join(folder, orphan), filepath.Join(p[0].site.blobs, ".unfinished", "x"),
		filepath.Join(folder, "notes.txt"), filepath.Join(p[0].site.blobs, stranger)} {
		if err := os.WriteFile(name, bytesOf, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func(before time.Time, want int) {
		t.Helper()
		if n, err := p[0].jobs.SweepBlobs(t.Context(), before); n != want || err != nil {
			t.Errorf("swept %d, not %d, %v", n, want, err)
		}
	}
	ada.call(t, "GET", attachmentPath(kept), nil).want(t, 200) // fresh until here
	late := ada.attach(t, task, "c", "3")                      // which the read models do not have yet
	sweep(time.Now().Add(-24*time.Hour), 1)                    // the deleted one
	sweep(time.Now().Add(time.Hour), 2)                        // the orphan, and what is unfinished
	sweep(time.Now().Add(time.Hour), 0)
	for _, a := range []domain.Attachment{kept, late} {
		ada.call(t, "GET", attachmentPath(a, "content"), nil).want(t, 200)
	}
	if left := p[0].site.blobFiles(t); len(left) != 4 || left[stranger] == nil {
		t.Errorf("%d files are left", len(left))
	}
	ada.judge(t)
}

// In S3 everything is as in a folder; while S3 is away, attachments are, and they come back with it.
func TestAttachmentsInS3(t *testing.T) {
	t.Parallel()
	gateway := blobtest.Start(t)
	s := newSite(t)
	s.blobs = gateway.URL
	p := s.newProcess(t, false)
	ada := p.signUp(t)
	task := ada.newTask(t)
	content := strings.Repeat("The quick brown fox. ", 600_000) // some parts
	added := ada.attach(t, task, "fox.txt", content)
	at := filepath.Join(gateway.Folder, ada.workspace.ID.String(), added.ID.String())
	if stored, err := os.ReadFile(at); err != nil || bytes.Contains(stored, []byte("quick")) {
		t.Errorf("%d bytes are stored, in clear or not, %v", len(stored), err)
	}
	if got := ada.call(t, "GET", attachmentPath(added, "content"), nil).want(t, 200); string(got.body) != content {
		t.Error("it came back as something else")
	}
	if got := ada.call(t, "GET", attachmentPath(added, "content"), nil, "Range: bytes=10000000-10000020").want(t, 206); string(got.body) != content[10_000_000:10_000_021] {
		t.Errorf("a part came back as %q", got.body)
	}
	gateway.Stop()
	for _, a := range []reply{ada.call(t, "GET", attachmentPath(added, "content"), nil), ada.call(t, "POST", taskPath(task, "attachments"), object{"file": file{"a", "1"}})} {
		a.problem(t, 503, "attachments_unavailable")
	}
	gateway.Restart(t)
	ada.call(t, "GET", attachmentPath(added, "content"), nil).want(t, 200)
	ada.call(t, "DELETE", attachmentPath(added), nil).want(t, 204)
	if _, err := os.Stat(at); !os.IsNotExist(err) {
		t.Errorf("deleted, and there still: %v", err)
	}
	ada.judge(t)
}

// While the store of blobs cannot be used, attachments alone are not available, and may be asked for again.
func TestBlobsAreAway(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	added := ada.attach(t, task, "a", "1")
	away := p[0].site.blobs + ".away"
	if err := os.Rename(p[0].site.blobs, away); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p[0].site.blobs, nil, 0o600); err != nil { // no folder
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(away) })
	_ = os.Chmod(away, 0) // for who is not root
	_ = os.RemoveAll(filepath.Join(away, ".unfinished"))
	got := ada.call(t, "POST", taskPath(task, "attachments"), object{"file": file{"b", "2"}})
	got.problem(t, 503, "attachments_unavailable")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	ada.call(t, "GET", attachmentPath(added), nil).want(t, 200)
	ada.call(t, "GET", "/readyz", nil).want(t, 200)
	if ada.count(t, "attachment.added") != 1 {
		t.Error("stored without bytes")
	}
}
