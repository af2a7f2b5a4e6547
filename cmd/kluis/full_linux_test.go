package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallHome makes a home with a Postgres of its own on a disk of the given size. It skips the test when the user may not make such a disk.
func smallHome(t *testing.T, size int) *home {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("kluis-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", size))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("a small disk takes root")
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &home{data: filepath.Join(dir, "data"), env: []string{unlimited, cheap}}
	t.Cleanup(func() {
		status, _, stderr := h.run("migrate", "status") // the last user of the private Postgres stops it
		if status != success {
			t.Errorf("stop the private Postgres: %d, %s", status, stderr)
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return h
}

// fill fills the disk of a home. The function that it gives frees the disk again.
func (h *home) fill(t *testing.T) (empty func()) {
	t.Helper()
	name := filepath.Join(h.data, "full")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// While the disk of the database and of the files is full, changes are refused with 503, and nothing is done by half. With room again everything works by itself,
// and every acknowledged change is there.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	h := smallHome(t, 192<<20)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	file := ann.attach(t, "a plan")
	id, _ := ann.me(t)
	empty := h.fill(t)

	body, kind := form(t, strings.Repeat("too much", 1<<17))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/tasks/"+ann.first(t)+"/attachments", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	request.Header.Set("Authorization", "Bearer "+ann.token)
	answer, err := ann.http.Do(request)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a file for which there is no room: %v, %v", answer, err)
	} else {
		answer.Body.Close()
	}
	for _, folder := range []string{".unfinished", id} {
		files, err := os.ReadDir(filepath.Join(h.data, "blobs", folder))
		if err != nil || len(files) != map[string]int{id: 1}[folder] {
			t.Errorf("in %s there are %v, %v", folder, files, err)
		}
	}

	acknowledged, refused := map[string]bool{}, map[string]int{}
	long := strings.Repeat("no two pages are alike ", 2000)
	for n := 0; n < 2000 && len(refused) == 0; n++ {
		title := fmt.Sprint("task ", n)
		r, err := ann.do("POST", "/api/tasks", fmt.Sprintf(`{"title": %q, "description": %q}`, title, long))
		if err != nil {
			t.Fatal(err)
		}
		if r.status == http.StatusCreated {
			acknowledged[title] = true
			continue
		}
		var problem struct{ Code string }
		_ = json.Unmarshal(r.body, &problem)
		refused[problem.Code]++
		if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" || !strings.HasPrefix(problem.Code, "database_") {
			t.Errorf("without room: %d %s", r.status, r.body)
		}
	}
	if len(refused) == 0 {
		t.Error("the disk was not full")
	}
	if r, err := ann.do("GET", "/readyz", ""); err != nil || r.status != http.StatusOK && r.status != http.StatusServiceUnavailable {
		t.Errorf("ready: %d %s, %v", r.status, r.body, err)
	}
	t.Logf("%d tasks had room, and then: %v", len(acknowledged), refused)
	empty()
	until(t, "there is room again", func() bool {
		r, err := ann.do("POST", "/api/tasks", `{"title": "with room"}`)
		return err == nil && r.status == http.StatusCreated
	})
	ann.want(t, http.StatusOK, "GET", "/readyz", "")
	ann.attach(t, "another plan")
	if r := ann.want(t, http.StatusOK, "GET", file, ""); string(r.body) != "a plan" {
		t.Errorf("the file holds %q", r.body)
	}
	titles := h.titles(t, "acme")
	for title := range acknowledged {
		if titles[title] != 1 {
			t.Errorf("%s was acknowledged, and is %d times in the log", title, titles[title])
		}
	}
	h.must(t, "verify", "acme")
	h.must(t, "rebuild", "--check", "acme")
}

// first is the id of a task.
func (c *client) first(t *testing.T) string {
	t.Helper()
	var tasks struct{ Items []struct{ ID string } }
	decode(t, c.want(t, http.StatusOK, "GET", "/api/tasks?limit=1", "").body, &tasks)
	if len(tasks.Items) == 0 {
		t.Fatal("there is no task")
	}
	return tasks.Items[0].ID
}
