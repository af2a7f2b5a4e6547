package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// following serves an answer that gives the records there are, and when it is followed those that come, as a replay does.
func following(t *testing.T, breath time.Duration, records <-chan string) *httptest.Server {
	t.Helper()
	server, err := newServer((&site{t: t, log: &lockedBuffer{}}).options(), []func(*api){func(a *api) {
		a.heartbeat = breath
		registerPublic(a, operation{
			Method: "GET", Path: "/records", ID: "records", Tag: "x", Summary: "Records", Status: 200, Access: public, Produces: "application/x-ndjson",
		}, func(_ context.Context, in *struct {
			Follow bool `query:"follow"`
		}) (*Streamed, error) {
			return &Streamed{Body: a.streamed(in.Follow, func(ctx context.Context, w *stream) error {
				for {
					select {
					case record := <-records:
						if _, err := io.WriteString(w, record); err != nil {
							return err
						}
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(breath / 10):
					}
					if err := w.Flush(); err != nil || !in.Follow {
						return err
					}
				}
			})}, nil
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(server.Handler())
	t.Cleanup(s.Close)
	return s
}

// lines reads an answer line by line. The answer is there before its first line.
func lines(t *testing.T, url string) (http.Header, func() string) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second}
	response, err := client.Get(url)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
	t.Cleanup(func() { response.Body.Close() })
	rest := bufio.NewReader(response.Body)
	return response.Header, func() string {
		line, err := rest.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		return line
	}
}

// A follower gets the headers before there is anything to follow, what tells proxies not to hold the answer back, and a
// blank line after each breath of silence. An answer that comes to its end has neither.
func TestEndlessStreamsBreathe(t *testing.T) {
	t.Parallel()
	const breath = 50 * time.Millisecond
	records := make(chan string, 1)
	s := following(t, breath, records)
	header, next := lines(t, s.URL+"/records?follow=true")
	if got := header.Get("X-Accel-Buffering"); got != "no" {
		t.Errorf("X-Accel-Buffering: %q", got)
	}
	begun := time.Now()
	for range 3 {
		if line := next(); line != "\n" {
			t.Errorf("%q", line)
		}
	}
	if took := time.Since(begun); took < 2*breath {
		t.Errorf("three breaths in %s", took)
	}
	records <- "{}\n"
	for line := next(); line != "{}\n"; line = next() {
		if line != "\n" {
			t.Fatalf("%q", line)
		}
	}
	if line := next(); line != "\n" {
		t.Errorf("behind the record: %q", line)
	}
	whole, err := http.Get(s.URL + "/records")
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Body.Close()
	if body, err := io.ReadAll(whole.Body); err != nil || len(body) > 0 || whole.Header.Get("X-Accel-Buffering") != "" {
		t.Errorf("not followed: %q, %v, %v", body, err, whole.Header)
	}
}

// Behind an nginx as it comes, but for the patience of seconds instead of a minute: what is followed is there at once, and
// silence is no end.
func TestFollowThroughNginx(t *testing.T) {
	t.Parallel()
	records := make(chan string, 1)
	proxied := nginx(t, following(t, 300*time.Millisecond, records).URL)
	begun := time.Now()
	_, next := lines(t, proxied+"/records?follow=true")
	for i := range 3 {
		for silence := time.Now(); time.Since(silence) < 1200*time.Millisecond; { // longer than nginx waits
			if line := next(); line != "\n" {
				t.Fatalf("%q", line)
			}
		}
		sent, want := time.Now(), fmt.Sprintf("{\"position\":%d}\n", i)
		records <- want
		for line := next(); line != want; line = next() {
			if line != "\n" {
				t.Fatalf("%q", line)
			}
		}
		if took := time.Since(sent); took > 10*time.Second {
			t.Errorf("record %d was held back for %s", i, took)
		}
	}
	t.Logf("followed for %s", time.Since(begun))
}

// nginx starts one in front of a server, and gives its URL.
func nginx(t *testing.T, to string) string {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("nginx is not installed: apt-get install nginx-light")
		}
	}
	dir := t.TempDir()
	upstream, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, `daemon off; master_process off; pid %[1]s/pid; error_log stderr;
		events {}
		http {
			access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
			server { listen %[2]s; location / { proxy_pass http://%[3]s; proxy_read_timeout 1s; } }
		}`, dir, address, upstream.Host), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &lockedBuffer{}
	cmd := exec.Command(program, "-e", "stderr", "-c", config, "-p", dir)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said)
		}
	})
	for range 500 {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return "http://" + address
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nginx does not listen")
	return ""
}
