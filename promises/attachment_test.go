package promises

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
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
		if key != ada.workspace.ID.String()+"/"+added.ID.String() && key != ada.workspace.ID.String()+"/"+other.ID.String() || bytes.Contains(data, []byte("quick")) || bytes.Contains(data, []byte("txt")) {
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
	if len(story) != 2 || story[0].Type != "attachment.added" || story[1].Type != "attachment.deleted" {
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
			response := must(wire.Do(c.request(t, "GET", attachmentPath(x, "content"), nil)))
			body := must(io.ReadAll(response.Body))
			_ = response.Body.Close()
			if response.StatusCode != 500 || strings.Contains(string(body), "xxx") {
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
	response := must(wire.Do(ada.request(t, "GET", attachmentPath(a, "content"), nil)))
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err == nil || len(body) >= len(content) {
		t.Errorf("a damaged file was served whole: %d bytes, %v", len(body), err)
	}
	p[0].log.forget(`"level":"ERROR"`)
}

// An upload that does not come whole leaves nothing: cut off anywhere, longer or shorter than it says, or no form at all.
func TestHalfAnUploadIsNone(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	at := taskPath(task, "attachments")
	form, contentType, _ := formOf(object{"file": file{"a.txt", strings.Repeat("content ", 30_000)}})
	whole := must(io.ReadAll(form))
	head := ada.head(t)
	nothing := func(what string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); len(p[0].site.blobFiles(t)) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: there is %d", what, len(p[0].site.blobFiles(t)))
			}
		}
		if ada.head(t) != head {
			t.Fatalf("%s: stored", what)
		}
	}
	for _, cut := range []int{0, 1, 50, 100, 150, 200, 5000, 100_000, len(whole) - 70, len(whole) - 10, len(whole) - 3} {
		got := ada.call(t, "POST", at, whole[:cut], "Content-Type: "+contentType) // a body that ends too early
		if got.status != 400 && got.status != 422 {
			t.Errorf("cut at %d: %d %s", cut, got.status, got.body)
		}
		conn := must(net.Dial("tcp", strings.TrimPrefix(ada.url, "http://"))) // a connection that does
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", at, ada.token, contentType, len(whole))
		_, _ = conn.Write(whole[:cut])
		_ = conn.Close()
		nothing(fmt.Sprint("cut at ", cut))
	}
	two, twoType, _ := formOf(object{"file": file{"a", "1"}, "more": file{"b", "2"}})
	other, otherType, _ := formOf(object{"upload": file{"a", "1"}})
	boundary := strings.TrimPrefix(contentType, "multipart/form-data; boundary=")
	nameless := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--" + boundary + "--\r\n"
	twice := strings.TrimSuffix(string(whole), "--\r\n") + "\r\n" + string(whole[bytes.Index(whole, []byte("Content-Disp")):])
	for name, c := range map[string]struct {
		body        []byte
		contentType string
		status      int
	}{
		"another boundary": {whole, "multipart/form-data; boundary=other", 400},
		"no boundary":      {whole, "multipart/form-data", 400},
		"JSON":             {[]byte(`{"file": "x"}`), "application/json", 415},
		"plain":            {[]byte("x"), "application/octet-stream", 415},
		"two fields":       {must(io.ReadAll(two)), twoType, 422},
		"another field":    {must(io.ReadAll(other)), otherType, 422},
		"no name":          {[]byte(nameless), contentType, 422},
		"the field twice":  {[]byte(twice), contentType, 422},
		"an empty form":    {[]byte("--" + boundary + "--\r\n"), contentType, 422},
	} {
		if got := ada.call(t, "POST", at, c.body, "Content-Type: "+c.contentType); got.status != c.status {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		nothing(name)
	}
	ada.call(t, "POST", at, whole, "Content-Type: "+contentType).want(t, 201)
}

// An upload and a download of 128 MiB take some buffers, and no more: docs/performance.md has the figures of 1 GiB. The test does not run in
// parallel: the memory measured is that of the whole process, the client's included.
func TestUploadsTakeConstantMemory(t *testing.T) {
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	const size = 128 << 20
	from, to := io.Pipe()
	contentType := "multipart/form-data; boundary=b"
	sum := sha256.New()
	go func() {
		_, _ = io.WriteString(to, "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big\"\r\n\r\n")
		chunk := make([]byte, 1<<20)
		for i := range size / len(chunk) {
			chunk[0] = byte(i)
			_, _ = sum.Write(chunk)
			_, _ = to.Write(chunk)
		}
		_, _ = io.WriteString(to, "\r\n--b--\r\n")
		_ = to.Close()
	}()
	peak := watchMemory(t)
	r := must(http.NewRequestWithContext(t.Context(), "POST", ada.url+taskPath(task, "attachments"), from))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer "+ada.token)
	added := decode[domain.Attachment](t, ada.answer(t, r).want(t, 201))
	if added.Size != size || added.Digest != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("%+v", added)
	}
	response := must(wire.Do(ada.request(t, "GET", attachmentPath(added, "content"), nil)))
	defer response.Body.Close()
	again := sha256.New()
	if n, err := io.Copy(again, response.Body); n != size || err != nil || hex.EncodeToString(again.Sum(nil)) != added.Digest {
		t.Errorf("%d bytes came back, %v", n, err)
	}
	if more := peak(); more > 64<<20 {
		t.Errorf("%d MiB more at some moment, for %d MiB", more>>20, size>>20)
	}
}

// watchMemory gives by how much more at most the process had at any moment from here to the call of peak.
func watchMemory(t *testing.T) (peak func() int64) {
	t.Helper()
	now := func() int64 {
		samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(samples)
		return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
	}
	debug.FreeOSMemory()
	begin, most := now(), int64(0)
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, now()-begin)
			case <-over:
				return
			}
		}
	}()
	return func() int64 { close(over); <-done; return most }
}

// One key, one effect: for the same name and bytes the first answer, also when there is no room, or the task is gone, by now; for others a refusal.
func TestUploadsWithAKey(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	at, key := taskPath(task, "attachments"), "Idempotency-Key: k"
	upload := func(c *client, name, content string) reply {
		return c.call(t, "POST", at, object{"file": file{name, content}}, key)
	}
	answers := make([]reply, 12)
	parallel(len(answers), func(i int) { answers[i] = upload(ada.on(p[i%2]), "a.txt", "content") })
	var first reply
	for _, a := range answers {
		switch {
		case a.status == 409:
			a.problem(t, 409, "idempotency_key_in_use")
		case first.status == 0:
			first = a.want(t, 201)
		case a.essence() != first.essence():
			t.Errorf("answered %s and %s", first.essence(), a.essence())
		}
	}
	if ada.count(t, "attachment.added") != 1 || len(p[0].site.blobFiles(t)) != 1 {
		t.Errorf("%d events, %d blobs", ada.count(t, "attachment.added"), len(p[0].site.blobFiles(t)))
	}
	ada.useUp(t, domain.Allowances["free"].All)
	ada.call(t, "DELETE", attachmentPath(decode[domain.Attachment](t, first)), nil).want(t, 204)
	ada.call(t, "DELETE", taskPath(task), nil).want(t, 204)
	for i := range p {
		if again := upload(ada.on(p[i]), "a.txt", "content"); again.essence() != first.essence() {
			t.Errorf("answered %s and later %s", first.essence(), again.essence())
		}
		upload(ada.on(p[i]), "a.txt", "other").problem(t, 422, "idempotency_key_reused")
		upload(ada.on(p[i]), "b.txt", "content").problem(t, 422, "idempotency_key_reused")
	}
	if ada.count(t, "attachment.added") != 1 || len(p[0].site.blobFiles(t)) != 0 {
		t.Errorf("the repeats stored something: %d", len(p[0].site.blobFiles(t)))
	}
}

// useUp says in the log that so many bytes are taken.
func (c *client) useUp(t tester, size int64) {
	t.Helper()
	data := fmt.Appendf(nil, `{"attachment_id":%q,"size":%d}`, uuid.NewString(), size)
	if _, err := c.store.Append(context.Background(), c.workspace, eventstore.Append{Writes: []eventstore.Write{
		{Stream: domain.StorageStream, Expected: eventstore.Any, Events: []eventstore.Event{{Type: "storage.taken", Data: data}}}}}); err != nil {
		t.Fatal(err)
	}
}

// Of many uploads at once, in two processes, as many are stored as there is room for, and no byte more; what is deleted makes room.
func TestQuota(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	task := ada.newTask(t)
	at := taskPath(task, "attachments")
	const size, room = 1000, 3
	allowed := domain.Allowances["free"].All
	ada.useUp(t, allowed-size*room-size/2)
	people := []*client{ada}
	for range 3 {
		people = append(people, ada.member(t, "member"))
	}
	answers := make([]reply, 12)
	parallel(len(answers), func(i int) {
		answers[i] = people[i%len(people)].on(p[i%2]).call(t, "POST", at, object{"file": file{fmt.Sprint(i), strings.Repeat("x", size)}})
	})
	stored := []domain.Attachment{}
	for _, a := range answers {
		if a.status == 201 {
			stored = append(stored, decode[domain.Attachment](t, a))
		} else if detail := a.problem(t, 409, "quota_exceeded").Detail; !strings.Contains(detail, "5 GiB") || !strings.Contains(detail, "delete") {
			t.Errorf("it does not say what to do: %s", detail)
		}
	}
	if len(stored) != room || len(p[0].site.blobFiles(t)) != room || ada.count(t, "attachment.added") != room {
		t.Errorf("%d stored of %d, %d blobs", len(stored), room, len(p[0].site.blobFiles(t)))
	}
	ada.call(t, "DELETE", attachmentPath(stored[0]), nil).want(t, 204)
	again := ada.on(p[1]).attach(t, task, "again", strings.Repeat("x", size))
	ada.call(t, "POST", at, object{"file": file{"more", strings.Repeat("x", size)}}).problem(t, 409, "quota_exceeded")
	ada.call(t, "PATCH", "/api/workspace", object{"plan": "pro"}).want(t, 200)
	ada.on(p[1]).attach(t, task, "more", strings.Repeat("x", size))
	ada.call(t, "PATCH", "/api/workspace", object{"plan": "free"}).want(t, 200)
	ada.call(t, "GET", attachmentPath(again, "content"), nil).want(t, 200) // a smaller plan takes nothing away
	ada.call(t, "POST", at, object{"file": file{"empty", ""}}).problem(t, 409, "quota_exceeded")
	ada.noDrift(t)
}

// What is too large is refused before it comes, where its length is said, and where it is not as soon as it is too much.
func TestTooLargeUploads(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	at := taskPath(ada.newTask(t), "attachments")
	said := func(length int64) string {
		conn := must(net.Dial("tcp", strings.TrimPrefix(ada.url, "http://")))
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"+
			"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n", at, ada.token, length)
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		answer := make([]byte, 4096)
		for n := 0; ; {
			more, err := conn.Read(answer[n:])
			n += more
			if text := strings.TrimPrefix(string(answer[:n]), "HTTP/1.1 100 Continue\r\n\r\n"); strings.Contains(text, "request_id") || err != nil {
				return text
			}
		}
	}
	for _, length := range []int64{domain.Allowances["free"].File + 1<<20, domain.MaxFile + 1<<20, 1 << 50} {
		if got := said(length); !strings.HasPrefix(got, "HTTP/1.1 413") || !strings.Contains(got, "file_too_large") {
			t.Errorf("%d bytes: %s", length, got)
		}
	}
	ada.useUp(t, domain.Allowances["free"].All-1<<20)
	if got := said(3 << 20); !strings.HasPrefix(got, "HTTP/1.1 409") || !strings.Contains(got, "quota_exceeded") {
		t.Errorf("%s", got)
	}
	from, to := io.Pipe() // no length is said
	go func() {
		_, _ = io.WriteString(to, "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n")
		for range 64 {
			if _, err := to.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
		_ = to.Close()
	}()
	r := must(http.NewRequestWithContext(t.Context(), "POST", ada.url+at, from))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	r.Header.Set("Authorization", "Bearer "+ada.token)
	response, err := wire.Do(r)
	if err == nil {
		_ = response.Body.Close()
	}
	if err == nil && response.StatusCode != 409 {
		t.Errorf("%d", response.StatusCode)
	}
	if n := len(p[0].site.blobFiles(t)); n != 0 {
		t.Errorf("%d blobs", n)
	}
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
