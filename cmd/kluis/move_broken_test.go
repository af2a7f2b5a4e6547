package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The rests of killed moves are deleted when the workspace is erased, also in a region that had nothing else of it.
func TestErasedBehindABrokenMove(t *testing.T) {
	t.Parallel()
	c := newCells(t)
	s := c.serve(t)
	ann, eve := s.signUp(t, "acme"), s.signUp(t, "other")
	ann.attach(t, "a plan")
	eve.attach(t, "another plan")
	acme, _ := ann.me(t)
	other, _ := eve.me(t)
	s.stop(t)
	c.killAt(t, "verified", "workspace", "move", "acme", "de") // acme is in be, and has arrived in de
	c.killAt(t, "open", "workspace", "move", "other", "de")    // other is in de, is left in be, and the home does not know
	if left := c.left(t, "de", acme); len(left) == 0 {
		t.Error("the first move left nothing")
	}
	if left := c.left(t, "be", other); len(left) == 0 {
		t.Error("the second move left nothing")
	}
	for _, slug := range []string{"acme", "other"} {
		c.must(t, "workspace", "erase", "--now", "--confirm", slug, slug)
	}
	c.serve(t)
	for region, id := range map[string]string{"de": acme, "be": other} {
		until(t, "nothing is left in "+region, func() bool { return len(c.left(t, region, id)) == 0 })
	}
}

// A rotation of keys and a move never run at once. The data of a move that was killed after its fence are rotated in the new region, too: with only the new key
// the next move goes on, and the workspace works as before.
func TestKeysRotateBehindABrokenMove(t *testing.T) {
	t.Parallel()
	c := newCells(t)
	s := c.serve(t)
	ann := s.signUp(t, "acme")
	file := ann.attach(t, "a plan")
	s.stop(t)
	c.killAt(t, "moved", "workspace", "move", "acme", "de")
	c.must(t, "keys", "new")

	said, err := c.hear(t, []string{"keys", "rotate"}, func(_ *os.Process, line string) {
		if line == "region be" {
			if status, _, stderr := c.run("workspace", "move", "acme", "de"); status != failure || !strings.Contains(stderr, "keys are being rotated") {
				t.Errorf("a move at the same time: %d, %s", status, stderr)
			}
		}
	})
	if err != nil || strings.Count(said, "is no longer used") != 2 {
		t.Errorf("rotate: %v\n%s", err, said)
	}
	keys := filepath.Join(c.data, "keys")
	text, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err := os.WriteFile(keys, []byte(strings.Join(lines[:len(lines)-1], "\n")+"\n"), 0o600); err != nil { // the old one is gone
		t.Fatal(err)
	}
	c.must(t, "workspace", "move", "acme", "de")
	c.whole(t, "acme", "de")
	ann = ann.at(c.serve(t))
	(&client{url: ann.url, http: ann.http}).want(t, http.StatusOK, "POST", "/api/login", loginAs("acme"))
	if r := ann.want(t, http.StatusOK, "GET", file, ""); string(r.body) != "a plan" {
		t.Errorf("the file holds %q", r.body)
	}
}
