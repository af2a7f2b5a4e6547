package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// serve runs a server until stop is called, which gives what Serve returned.
func serve(t *testing.T, grace time.Duration, nouns ...func(*api)) (url string, stop func() error) {
	t.Helper()
	options := (&site{t: t, log: &lockedBuffer{}}).options()
	options.Grace = grace
	server, err := newServer(options, nouns)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	return "http://" + l.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

// slow registers an operation that says when it was called, and ends when told.
func slow(called chan<- struct{}, end <-chan struct{}) func(*api) {
	return func(a *api) {
		registerPublic(a, operation{
			Method: "GET", Path: "/slow", ID: "slow", Tag: "x", Summary: "Slow", Status: 200, Access: public,
		}, func(ctx context.Context, _ *struct{}) (*noteOutput, error) {
			close(called)
			<-end
			return note("%v", ctx.Err()), nil
		})
	}
}

func TestStoppingFinishesWhatIsInFlight(t *testing.T) {
	called, end := make(chan struct{}), make(chan struct{})
	url, stop := serve(t, 10*time.Second, slow(called, end))
	answered := make(chan string, 1)
	go func() {
		response, err := http.Get(url + "/slow")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answered <- string(body)
	}()
	<-called
	time.AfterFunc(100*time.Millisecond, func() { close(end) })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := <-answered; !strings.Contains(got, "<nil>") {
		t.Error(got)
	}
	if response, err := http.Get(url + "/slow"); err == nil {
		response.Body.Close()
		t.Error("it still serves")
	}
}

func TestStoppingDoesNotWaitForEver(t *testing.T) {
	called, end := make(chan struct{}), make(chan struct{})
	url, stop := serve(t, 50*time.Millisecond, slow(called, end))
	defer close(end)
	go func() {
		if response, err := http.Get(url + "/slow"); err == nil {
			response.Body.Close()
		}
	}()
	<-called
	if err := stop(); err == nil || !strings.Contains(err.Error(), "in flight") {
		t.Error(err)
	}
}

func TestStoppingEndsStreamsWell(t *testing.T) {
	url, stop := serve(t, 10*time.Second, fakes)
	r, err := http.NewRequest(http.MethodGet, url+"/api/replay?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer admin")
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Error(got)
	}
	line := make([]byte, len("{\"position\":1}\n"))
	if _, err := io.ReadFull(response.Body, line); err != nil || string(line) != "{\"position\":1}\n" {
		t.Fatalf("%q %v", line, err)
	}
	started := time.Now()
	if err := stop(); err != nil || time.Since(started) > 5*time.Second {
		t.Error(err, time.Since(started))
	}
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q %v", rest, err)
	}
}

// Who has been idle for longer than a write may take gets a whole answer all the same, however it ends.
func TestIdleStreamsEndWell(t *testing.T) {
	idle := func(a *api) {
		registerPublic(a, operation{
			Method: "GET", Path: "/idle", ID: "idle", Tag: "x", Summary: "Idle", Status: 200, Access: public,
			Produces: "application/x-ndjson",
		}, func(_ context.Context, in *struct {
			Follow bool `query:"follow"`
		}) (*Streamed, error) {
			return &Streamed{Body: a.streamed(in.Follow, func(ctx context.Context, w *stream) error {
				_, err := io.WriteString(w, "{}\n")
				if err := errors.Join(err, w.Flush(), w.control.SetWriteDeadline(time.Now().Add(-time.Second))); err != nil {
					return err
				}
				if in.Follow {
					<-ctx.Done()
				}
				return ctx.Err()
			})}, nil
		})
	}
	url, stop := serve(t, 10*time.Second, idle)
	for _, target := range []string{"/idle", "/idle?follow=true"} {
		response, err := http.Get(url + target)
		if err != nil {
			t.Fatal(err)
		}
		line := make([]byte, len("{}\n")) // headers come at once: the server stops when the handler has written
		_, err = io.ReadFull(response.Body, line)
		if target != "/idle" {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		rest, end := io.ReadAll(response.Body)
		response.Body.Close()
		if errors.Join(err, end) != nil || string(line) != "{}\n" || len(rest) > 0 {
			t.Errorf("%s: %q, %q, %v", target, line, rest, errors.Join(err, end))
		}
	}
}

func TestReadinessEndsFirst(t *testing.T) {
	s := &site{t: t, log: &lockedBuffer{}}
	server, err := newServer(s.options(), []func(*api){health})
	if err != nil {
		t.Fatal(err)
	}
	server.api.stop()
	_, err = readiness(server.api)(t.Context(), nil)
	if p := problemOf(t.Context(), err); p.Code != "stopping" || p.Status != 503 {
		t.Error(p)
	}
}

// A caller that sends its body a byte at a time is told so, and does not hold a handler.
func TestSlowBodies(t *testing.T) {
	url, stop := serve(t, time.Second, func(a *api) {
		registerPublic(a, operation{
			Method: "POST", Path: "/post", ID: "post", Tag: "x", Summary: "Post", Status: 200, Access: public,
			BodyTimeout: 100 * time.Millisecond, MaxBody: 20,
		}, func(context.Context, *struct{ Body map[string]int }) (*noteOutput, error) { return note("ok"), nil })
	})
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /post HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{")
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "request_timeout") {
		t.Errorf("%s", answer)
	}
	response, err := http.Post(url+"/post", "application/json", strings.NewReader(`{"a":1,"b":2,"c":333}`))
	if err != nil || response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("over the operation's own limit: %v %v", response, err)
	}
	response.Body.Close()
}

// Connections that send nothing, half of their headers or half of a body are in nobody's way, and are closed after a while.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	url, stop := serve(t, time.Second, func(a *api) {
		registerPublic(a, operation{Method: "POST", Path: "/post", ID: "post", Tag: "x", Summary: "Post", Status: 200, Access: public, BodyTimeout: time.Second},
			func(context.Context, *struct{ Body map[string]int }) (*noteOutput, error) { return note("ok"), nil })
	})
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	var silent []net.Conn
	for i := range 64 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprint(conn, []string{"", "POST /post HTTP/1.1\r\nHost: x\r\nX-Half: ", "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"}[i%3])
		silent = append(silent, conn)
	}
	others := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 20 {
		answer, err := others.Post(url+"/post", "application/json", strings.NewReader(`{"a": 1}`))
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("another one: %v, %v", answer, err)
		}
		answer.Body.Close()
	}
	for i, conn := range silent {
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if said, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is still open: %q", i, said)
		}
	}
}

// Files are handed on as they come, and bounded all the same.
func TestUploads(t *testing.T) {
	s := newSite(t, func(a *api) {
		registerPublic(a, operation{
			Method: "POST", Path: "/upload", ID: "upload", Tag: "x", Summary: "Upload", Status: 200, Access: public, MaxBody: 1000, File: "file",
		}, func(ctx context.Context, _ *struct{}) (*noteOutput, error) {
			name, content, err := fileOf(exchangeOf(ctx).parts, "file")
			if err != nil {
				return nil, err
			}
			n, err := io.Copy(io.Discard, content)
			return note("%d bytes of %s", n, name), err
		})
	})
	form := func(size int) string {
		return "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"hunter2\"\r\nContent-Type: application/octet-stream\r\n\r\n" +
			strings.Repeat("a", size) + "\r\n--x--\r\n"
	}
	multipart := "Content-Type: multipart/form-data; boundary=x"
	if a := s.ask("POST", "/upload", form(500), multipart); !strings.Contains(a.body, "500 bytes of hunter2") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	s.ask("POST", "/upload", form(2000), multipart).problem(t, 413, "file_too_large")
	s.ask("POST", "/upload", form(2000), multipart, "Content-Length: -", "Transfer-Encoding: chunked").problem(t, 413, "file_too_large")
	s.ask("POST", "/upload", "{}").problem(t, 415, "unsupported_media_type")
	a := s.ask("POST", "/upload", "hunter2", multipart)
	if a.StatusCode != http.StatusUnprocessableEntity || strings.Contains(a.body, "hunter2") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// A file has as long as it takes while something comes, and no longer than the operation's time while nothing does.
func TestSlowUploads(t *testing.T) {
	t.Parallel()
	const patience = 4 * time.Second
	url, stop := serve(t, time.Second, func(a *api) {
		registerPublic(a, operation{
			Method: "POST", Path: "/upload", ID: "upload", Tag: "x", Summary: "Upload", Status: 200, Access: public, File: "file", BodyTimeout: patience,
		}, func(ctx context.Context, _ *struct{}) (*noteOutput, error) {
			_, content, err := fileOf(exchangeOf(ctx).parts, "file")
			if err != nil {
				return nil, err
			}
			n, err := io.Copy(io.Discard, content)
			return note("%d bytes", n), err
		})
	})
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	upload := func(pause time.Duration) (status string, took time.Duration) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		begun := time.Now()
		fmt.Fprint(conn, "POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 79\r\n\r\n"+
			"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n")
		go func() {
			for _, part := range []string{"a", "b", "c", "d", "\r\n--x--\r\n"} {
				time.Sleep(pause)
				_, _ = io.WriteString(conn, part)
			}
		}()
		answer, _ := io.ReadAll(conn)
		status, _, _ = strings.Cut(string(answer), "\r\n")
		return status, time.Since(begun)
	}
	if status, took := upload(patience / 4); !strings.Contains(status, " 200 ") || took < patience {
		t.Errorf("%q after %s", status, took)
	}
	if status, _ := upload(3 * patience); !strings.Contains(status, " 408 ") {
		t.Errorf("%q", status)
	}
}

func TestConnectionLogHoldsNoAddresses(t *testing.T) {
	log := &lockedBuffer{}
	options := (&site{log: log}).options()
	l := connectionLog{options.Log}
	for _, line := range []string{
		"http: TLS handshake error from 203.0.113.7:4711: EOF",
		"http: panic serving [2001:db8::7]:4711: oops",
		"http: Accept error: accept tcp 127.0.0.1:8080: too many open files; retrying in 5ms",
	} {
		fmt.Fprintln(l, line)
	}
	text := log.String()
	if strings.Contains(text, "203.0") || strings.Contains(text, "2001:db8") || !strings.Contains(text, "too many open files") {
		t.Error(text)
	}
}
