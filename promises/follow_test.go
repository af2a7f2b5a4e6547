package promises

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// follower reads the log as it grows.
type follower struct {
	mu        sync.Mutex
	positions []int64
	ended     chan struct{} // when the server ended the answer, or the reader went
	err       error
	cancel    context.CancelFunc
}

// longWire has no timeout, and a connection for each request.
var longWire = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (c *client) follow(t *testing.T, from int64) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{ended: make(chan struct{}), cancel: cancel}
	r := c.request(t, "GET", fmt.Sprint("/api/audit/replay?follow=true&from=", from), nil).WithContext(ctx)
	response, err := longWire.Do(r) //nolint:bodyclose // read closes it
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("follow: %d %v", response.StatusCode, response.Header)
	}
	t.Cleanup(func() { cancel(); <-f.ended })
	go f.read(response.Body)
	return f
}

func (f *follower) read(body io.ReadCloser) {
	defer close(f.ended)
	defer body.Close()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			f.err = err
			return
		}
		if len(line) == 1 { // a sign of life
			continue
		}
		var r record
		if f.err = json.Unmarshal(line, &r); f.err != nil {
			return
		}
		f.mu.Lock()
		f.positions = append(f.positions, r.Position)
		f.mu.Unlock()
	}
}

func (f *follower) last() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.positions) == 0 {
		return 0
	}
	return f.positions[len(f.positions)-1]
}

// reaches waits until the follower has a position.
func (f *follower) reaches(t *testing.T, position int64) {
	t.Helper()
	for end := time.Now().Add(patience); f.last() < position; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a follower is at %d, and never comes to %d", f.last(), position)
		}
	}
}

// No event is skipped, and none is seen twice, by followers in two processes while many write in both.
func TestFollowWhileOthersWrite(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, true)
	ada := p[0].signUp(t)
	var followers []*follower
	from := map[*follower]int64{}
	begin := func(position int64) {
		for i := range 4 {
			f := ada.on(p[i%2]).follow(t, position)
			followers, from[f] = append(followers, f), position
		}
	}
	begin(1)
	each := 60
	if testing.Short() {
		each = 20
	}
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		parallel(8, func(i int) {
			for range each {
				if a := ada.on(p[i%2]).call(t, "POST", "/api/tasks", object{"title": "x"}); a.status != 201 {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
		})
	}()
	followers[0].reaches(t, int64(each))
	begin(int64(each))
	<-writing
	head := ada.head(t)
	begin(head)
	for i, f := range followers {
		f.reaches(t, head)
		f.cancel()
		<-f.ended
		for n, position := range f.positions {
			if position != from[f]+int64(n) {
				t.Fatalf("follower %d: position %d at place %d", i, position, n)
			}
		}
	}
	if int(head) != 8*each+2 {
		t.Errorf("the head is at %d", head)
	}
}

// Whose role is taken away sees nothing that comes after that, and the answer ends.
func TestFollowEndsWithTheRole(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, true)
	ada := p[0].signUp(t)
	bob := ada.member(t, "auditor")
	role := func(name string) int64 {
		return ada.call(t, "PATCH", "/api/members/"+bob.id.String(), object{"role": name}).want(t, 200).position(t)
	}
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		f := bob.on(p[round%2]).follow(t, ada.head(t)+1)
		over := make(chan struct{})
		var writers sync.WaitGroup
		for i := range 4 { // so that the follower has something to read at the very instant
			writers.Go(func() {
				for !closed(over) && ada.on(p[i%2]).call(t, "POST", "/api/tasks", object{"title": "x"}).status != 0 {
				}
			})
		}
		time.Sleep(time.Duration(round%4) * time.Millisecond)
		taken := role("member")
		ada.on(p[1]).newTask(t)
		close(over)
		writers.Wait()
		f.endsBefore(t, taken)
		role("auditor")
	}
	f := bob.on(p[1]).follow(t, ada.head(t))
	taken := ada.call(t, "POST", "/api/members/"+bob.id.String()+"/deactivate", nil).want(t, 200).position(t)
	ada.newTask(t)
	f.endsBefore(t, taken)
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (f *follower) endsBefore(t *testing.T, taken int64) {
	t.Helper()
	select {
	case <-f.ended:
	case <-time.After(patience):
		t.Fatal("the answer does not end")
	}
	if !errors.Is(f.err, io.EOF) {
		t.Errorf("the answer broke off: %v", f.err)
	}
	if f.last() > taken {
		t.Errorf("shown up to position %d, and the role was taken away at %d", f.last(), taken)
	}
}

// A process without background hears no bell of others: it is right all the same, only slower.
func TestFollowWithoutBackground(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	bob := ada.member(t, "auditor")
	from := ada.head(t) + 1
	here, there, gone := ada.follow(t, from), ada.on(p[1]).follow(t, from), bob.on(p[1]).follow(t, from)
	taken := ada.call(t, "DELETE", "/api/members/"+bob.id.String(), nil).want(t, 204).position(t)
	ada.newTask(t)
	for _, f := range []*follower{here, there} {
		f.reaches(t, taken+1)
	}
	gone.endsBefore(t, taken)
}

// A server that stops ends the answers of followers well, so that they go on elsewhere from their last line.
func TestFollowEndsWithTheServer(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	f := ada.on(p[1]).follow(t, 1)
	f.reaches(t, ada.head(t))
	p[1].stop() // its own Serve fails the test when it had to cut somebody off
	<-f.ended
	if !errors.Is(f.err, io.EOF) {
		t.Error(f.err)
	}
}

// Nor does anybody go on reading on a session that has ended, or is too old.
func TestFollowEndsWithTheSession(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	ada := p[0].signUp(t)
	for name, end := range map[string]func(*client){
		"log out": func(c *client) { c.call(t, "POST", "/api/logout", nil).want(t, 204) },
		"expired": func(*client) { ada.execSQL(t, `update session set expires_at = now() where id <> $1`) },
		"idle": func(*client) {
			ada.execSQL(t, `update session set used_at = now() - interval '13 hours' where id <> $1`)
		},
	} {
		c := ada.as(decode[admitted](t, ada.logIn(t, ada.password).want(t, 200)).Token)
		f := c.follow(t, 1)
		f.reaches(t, ada.head(t))
		end(c)
		after := ada.head(t)
		ada.newTask(t)
		c.call(t, "GET", "/api/me", nil).problem(t, 401, "unauthenticated")
		select {
		case <-f.ended:
			if f.last() > after {
				t.Errorf("%s: shown what came later", name)
			}
		case <-time.After(patience):
			t.Errorf("%s: the answer goes on", name)
		}
	}
}
