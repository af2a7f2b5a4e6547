package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/mail/mailtest"
)

// client is a person who talks to a server.
type client struct {
	url     string
	token   string
	ifMatch string // a version
	http    *http.Client
}

// reply is an answer, its body read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) position(t testing.TB) int64 {
	t.Helper()
	n, err := strconv.ParseInt(r.header.Get("Kluis-Position"), 10, 64)
	if err != nil {
		t.Fatalf("status %d, Kluis-Position: %v: %s", r.status, err, r.body)
	}
	return n
}

func (c *client) do(method, path, body string) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.ifMatch != "" {
		request.Header.Set("If-Match", `"`+c.ifMatch+`"`)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, content}, err
}

// want sends a request that must be answered with a status.
func (c *client) want(t testing.TB, status int, method, path, body string) reply {
	t.Helper()
	r, err := c.do(method, path, body)
	if err != nil || r.status != status {
		t.Fatalf("%s %s: %d %s %v, want %d", method, path, r.status, r.body, err, status)
	}
	return r
}

func (c *client) task(t testing.TB, title string) (id string) {
	t.Helper()
	var task struct{ ID string }
	decode(t, c.want(t, http.StatusCreated, "POST", "/api/tasks", fmt.Sprintf(`{"title": %q}`, title)).body, &task)
	return task.ID
}

func decode(t testing.TB, body []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}

// at gives the same person at another server, with connections of its own.
func (c *client) at(s *server) *client {
	return &client{url: s.url, token: c.token, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
}

const plain = "correct horse 77 battery"

// signUp makes a workspace, with the code from the mail that the server writes, and gives its admin.
func (s *server) signUp(t testing.TB, slug string) *client {
	t.Helper()
	return s.signUpIn(t, slug, "")
}

// signUpIn is signUp in a region; "" leaves it to the server.
func (s *server) signUpIn(t testing.TB, slug, region string) *client {
	t.Helper()
	r := s.verify(t, slug, region)
	if r.status != http.StatusCreated {
		t.Fatalf("verify: %d %s", r.status, r.body)
	}
	var admitted struct {
		Token     string
		Workspace struct{ Region string }
	}
	decode(t, r.body, &admitted)
	if region != "" && admitted.Workspace.Region != region {
		t.Errorf("the workspace is in %q, and was asked for in %q", admitted.Workspace.Region, region)
	}
	c := (&client{}).at(s)
	c.token = admitted.Token
	return c
}

// verify signs up, and gives the answer to the code.
func (s *server) verify(t testing.TB, slug, region string) reply {
	t.Helper()
	c := (&client{}).at(s)
	address, in := "ann@"+slug+".example", ""
	if region != "" {
		in = fmt.Sprintf(`, "region": %q`, region)
	}
	var signup struct {
		SignupID string `json:"signup_id"`
	}
	decode(t, c.want(t, http.StatusAccepted, "POST", "/api/signup", fmt.Sprintf(
		`{"workspace": {"slug": %q, "name": "Works of %s"}, "email": %q, "full_name": "Ann Example", "password": %q%s}`, slug, slug, address, plain, in)).body, &signup)
	r, err := c.do("POST", "/api/signup/verify", fmt.Sprintf(`{"signup_id": %q, "code": %q}`, signup.SignupID, s.mailed(t, address)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mailed waits for a mail, and gives its code.
func (s *server) mailed(t testing.TB, address string) (code string) {
	t.Helper()
	until(t, "a mail to "+address, func() bool {
		files, err := filepath.Glob(filepath.Join(s.data, "mail", "*.eml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if m, err := mailtest.ReadFile(file); err == nil && m.Header.Get("To") == "<"+address+">" {
				code = m.Code()
			}
		}
		return code != ""
	})
	return code
}
