package promises

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// tester is a *testing.T, or a *rapid.T.
type tester interface {
	Helper()
	Name() string
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// client is somebody who asks a process.
type client struct {
	*process
	token     string // empty: the public
	workspace pg.Workspace
	slug      string
	id        uuid.UUID // the member's
	email     string
	name      string
	password  string
}

// on is the same person at another process.
func (c *client) on(p *process) *client {
	other := *c
	other.process = p
	return &other
}

// as is the same person with another session.
func (c *client) as(token string) *client {
	other := *c
	other.token = token
	return &other
}

// reply is an answer whose body has been read. Status 0 means that there was none; the test has failed then.
type reply struct {
	status int
	header http.Header
	body   []byte
	what   string // was asked
}

// patience is how long a test waits for what must come: on a machine with much else to do that takes as long as it takes, so whoever waits as
// long hangs.
const patience = 2 * time.Minute

// object is a JSON object on its way to a server.
type object = map[string]any

var wire = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

// call sends a request and reads the answer, which must be one that the schema describes. body is nil, bytes
// to send as they are, or what to make JSON of. headers are "Name: value"; one replaces what is set anyway.
func (c *client) call(t tester, method, target string, body any, headers ...string) reply {
	t.Helper()
	return c.answer(t, c.request(t, method, target, body, headers...))
}

func (c *client) answer(t tester, r *http.Request) reply {
	t.Helper()
	what := r.Method + " " + r.URL.RequestURI()
	response, err := wire.Do(r)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return reply{}
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("%s: read the answer: %v", what, err)
		return reply{}
	}
	a := reply{response.StatusCode, response.Header, data, what}
	checkAnswer(t, r, a)
	return a
}

func (c *client) request(t tester, method, target string, body any, headers ...string) *http.Request {
	t.Helper()
	content, contentType, form := formOf(body)
	if !form {
		content, contentType = bodyOf(body), "application/json"
	}
	r, err := http.NewRequest(method, c.url+target, content)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func bodyOf(body any) io.Reader {
	switch b := body.(type) {
	case nil:
		return nil
	case []byte:
		return bytes.NewReader(b)
	case string:
		return strings.NewReader(b)
	}
	return bytes.NewReader(must(json.Marshal(body)))
}

// want fails the test when the status is another.
func (a reply) want(t tester, status int) reply {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: status %d, not %d: %s", a.what, a.status, status, a.body)
	}
	return a
}

// problem fails the test when the answer is not this problem.
func (a reply) problem(t tester, status int, code string) problem {
	t.Helper()
	a.want(t, status)
	p := decode[problem](t, a)
	if p.Code != code {
		t.Fatalf("%s: code %s, not %s: %s", a.what, p.Code, code, a.body)
	}
	return p
}

// problem is the body of an answer that is not a success.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	RequestID                 string `json:"request_id"`
	Errors                    []struct{ In, Pointer, Detail string }
}

// position is the answer's Kluis-Position.
func (a reply) position(t tester) int64 {
	t.Helper()
	n, err := strconv.ParseInt(a.header.Get("Kluis-Position"), 10, 64)
	if err != nil {
		t.Fatalf("%s: Kluis-Position: %v", a.what, err)
	}
	return n
}

// sameBytes is the answer without what tells requests apart.
func (a reply) sameBytes(t tester) string {
	t.Helper()
	header := a.header.Clone()
	id := header.Get("X-Request-Id")
	header.Del("X-Request-Id")
	header.Del("Date")
	if id == "" {
		t.Errorf("%s: no X-Request-Id", a.what)
	}
	return fmt.Sprint(a.status, header, strings.ReplaceAll(string(a.body), id, "ID"))
}

func decode[T any](t tester, a reply) (v T) {
	t.Helper()
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return v
}

// list is a page of an answer.
type list[T any] struct {
	Items      []T
	NextCursor *string `json:"next_cursor"`
}

// pages reads a whole list, limit items at a time.
func pages[T any](t tester, c *client, target string, limit int) (all []T) {
	t.Helper()
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	for cursor := ""; ; {
		page := decode[list[T]](t, c.call(t, "GET", fmt.Sprintf("%s%slimit=%d%s", target, separator, limit, cursor), nil).want(t, 200))
		if len(page.Items) > limit {
			t.Fatalf("%d items with limit %d", len(page.Items), limit)
		}
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			return all
		}
		if len(page.Items) == 0 {
			t.Fatalf("GET %s: an empty page with a next", target)
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

// parallel runs fn n times at the same instant and waits.
func parallel(n int, fn func(i int)) {
	start := make(chan struct{})
	done := make(chan struct{})
	for i := range n {
		go func() {
			defer func() { done <- struct{}{} }()
			<-start
			fn(i)
		}()
	}
	close(start)
	for range n {
		<-done
	}
}
