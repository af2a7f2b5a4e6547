package promises

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/pg"
)

// fill writes tasks straight into the log, more than a page of it and more than a connection holds by itself: some 25 MB.
func (c *client) fill(t tester) {
	t.Helper()
	if err := c.db.Do(context.Background(), c.workspace,
		pg.Exec(`insert into event (position, id, stream, version, type, at, actor, data)
			select position + i, gen_random_uuid(), 'task-' || gen_random_uuid(), 1, 'task.created', at, null,
				json_build_object('title', 'x', 'status', 'open', 'priority', 'none', 'description', repeat('d', 8000 + i))
			from head, generate_series(1, 2500) i`),
		pg.Exec(`update head set position = position + 2500`)); err != nil {
		t.Fatal(err)
	}
}

// reading begins a replay, and has read its first line.
func (c *client) reading(t *testing.T, query string) (io.ReadCloser, *bufio.Reader) {
	t.Helper()
	response, err := longWire.Do(c.request(t, "GET", "/api/audit/replay?"+query, nil))
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", response, err)
	}
	t.Cleanup(func() { response.Body.Close() })
	rest := bufio.NewReader(response.Body)
	if line, err := rest.ReadBytes('\n'); err != nil {
		t.Fatalf("%s %v", line, err)
	}
	return response.Body, rest
}

// A server that stops in the middle of a replay gives slow readers whole lines only, and those who never read no time:
// a follower's answer ends well where it is, any other one at the end of the log.
func TestStopWhileReplaying(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	ada.fill(t)
	head := ada.head(t)
	for range 2 {
		ada.reading(t, "")
		ada.reading(t, "follow=true")
	}
	_, whole := ada.reading(t, "")
	_, followed := ada.reading(t, "follow=true")
	time.Sleep(500 * time.Millisecond) // until all of them wait for their readers
	begun, stopped := time.Now(), make(chan struct{})
	go func() { p.stop(); close(stopped) }()
	time.Sleep(200 * time.Millisecond)
	for name, rest := range map[string]*bufio.Reader{"whole": whole, "followed": followed} {
		text, err := io.ReadAll(rest)
		count := int64(bytes.Count(text, []byte("\n"))) + 1
		if err != nil || text[len(text)-1] != '\n' {
			t.Errorf("%s: %d lines and %q, %v", name, count, text[len(text)-20:], err)
		}
		if (name == "whole") != (count == head) {
			t.Errorf("%s: %d lines of %d", name, count, head)
		}
	}
	<-stopped                                             // the process' own Serve fails the test when it had to cut somebody off
	if took := time.Since(begun); took > 18*time.Second { // requests in flight have 20
		t.Errorf("those who do not read held it up for %s", took)
	}
}

// A member follows the log at most ten times at once, in each process. Everything else goes on.
func TestFollowersAreLimited(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "auditor")
	var first io.Closer
	for i := range 10 {
		body, _ := ada.reading(t, "follow=true")
		if i == 0 {
			first = body
		}
	}
	for _, method := range []string{"GET", "HEAD"} {
		a := ada.call(t, method, "/api/audit/replay?follow=true", nil)
		if a.want(t, 429).header.Get("Retry-After") != "10" {
			t.Errorf("%s: %v", method, a.header)
		}
	}
	limited(t, ada.call(t, "GET", "/api/audit/replay?follow=true", nil), "too_many_requests")
	ada.call(t, "GET", "/api/audit/replay", nil).want(t, 200)
	bob.reading(t, "follow=true")
	ada.on(p[1]).reading(t, "follow=true")
	first.Close()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if a := ada.call(t, "HEAD", "/api/audit/replay?follow=true", nil); a.status == 200 {
			return
		} else if time.Now().After(end) {
			t.Fatal(fmt.Sprint("after one has ended: ", a.status))
		}
	}
}
