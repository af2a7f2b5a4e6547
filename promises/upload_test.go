package promises

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
)

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
		for end := time.Now().Add(patience); len(p[0].site.blobFiles(t)) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: there is %d", what, len(p[0].site.blobFiles(t)))
			}
		}
		if ada.head(t) != head {
			t.Fatalf("%s: stored", what)
		}
	}
	for what, headers := range map[string]string{"fewer bytes than announced": fmt.Sprintf("Content-Length: %d\r\n\r\n", len(whole)+1),
		"no last chunk": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(whole))} { // the form is whole, the body is not
		conn := must(net.Dial("tcp", strings.TrimPrefix(ada.url, "http://")))
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n%s%s\r\n", at, ada.token, contentType, headers, whole[:len(whole)-2])
		_ = conn.(*net.TCPConn).CloseWrite()
		if answer := string(must(io.ReadAll(conn))); !strings.HasPrefix(answer, "HTTP/1.1 400") {
			t.Errorf("%s: %.300s", what, answer)
		}
		_ = conn.Close()
		nothing(what)
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
	twice := strings.TrimSuffix(string(whole), "--\r\n") + "\r\n" + string(whole[max(0, bytes.Index(whole, []byte("Content-Disp"))):])
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
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, ada.url+taskPath(task, "attachments"), from))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer "+ada.token)
	added := decode[domain.Attachment](t, ada.answer(t, r).want(t, 201))
	if added.Size != size || added.Digest != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("%+v", added)
	}
	response := must(wire.Do(ada.request(t, "GET", attachmentPath(added, "content"), nil))) //nolint:bodyclose // closed below
	defer response.Body.Close()
	again := sha256.New()
	if n, err := io.Copy(again, response.Body); n != size || err != nil || hex.EncodeToString(again.Sum(nil)) != added.Digest {
		t.Errorf("%d bytes came back, %v", n, err)
	}
	if more := peak(); more > 96<<20 { // the client's buffers and what is not collected yet are in it; all of the file would be 128
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
	percent := debug.SetGCPercent(100) // as in the program
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
	return func() int64 { close(over); <-done; debug.SetGCPercent(percent); return most }
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
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, ada.url+at, from))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	r.Header.Set("Authorization", "Bearer "+ada.token)
	response, err := wire.Do(r)
	if err == nil {
		_ = response.Body.Close()
	}
	if err == nil && response.StatusCode != http.StatusConflict {
		t.Errorf("%d", response.StatusCode)
	}
	if n := len(p[0].site.blobFiles(t)); n != 0 {
		t.Errorf("%d blobs", n)
	}
}
