package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// playDemo plays actions on a server of its own with the given limits, and gives the result.
func playDemo(t *testing.T, limits, actions string, flags ...string) (status int, stdout, stderr string) {
	t.Helper()
	h := sharedHome(t, pgtest.Database(t))
	h.env = h.env[1:]
	if limits != "" {
		h.env = append(h.env, "KLUIS_LIMITS="+limits)
	}
	s := h.serve(t)
	file := filepath.Join(t.TempDir(), "actions.ndjson")
	if err := os.WriteFile(file, []byte(actions), 0o600); err != nil {
		t.Fatal(err)
	}
	return h.run(append([]string{"demo", "--url", s.url, file}, flags...)...)
}

// create is a line that creates a task in an org.
func create(n int, org, actor, title string) string {
	return fmt.Sprintf(`{"at":"2026-01-01T00:00:00Z","org":%q,"actor":%q,"do":"task.create","task":"T%d","title":%q}`+"\n", org, actor, n, title)
}

// The README says how to start a server for a demo of many organisations and many people: no limit stops it.
func TestReadmeBigDemo(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	recipe := regexp.MustCompile("`KLUIS_LIMITS=(\\S+) make run`").FindSubmatch(readme)
	if recipe == nil {
		t.Fatal("the README has no recipe")
	}
	var actions strings.Builder
	for i := range 14 {
		actions.WriteString(create(i, fmt.Sprint("org", i), "ann", "x"))
	}
	for i := range 60 {
		actions.WriteString(create(100+i, "org0", fmt.Sprint("p", i), "x"))
	}
	for i := range 900 {
		actions.WriteString(create(1000+i, "org1", "ann", "x"))
	}
	status, stdout, stderr := playDemo(t, string(recipe[1]), actions.String())
	if status != success || stderr != "" || strings.Contains(stdout, "429") || strings.Count(stdout, "right\n") != 14 {
		t.Errorf("status %d, %s\n%s", status, stderr, stdout)
	}
}

// A demo that a limit stops names the limit, and says what to do.
func TestDemoNamesTheLimit(t *testing.T) {
	t.Parallel()
	var actions strings.Builder
	for i := range 12 {
		actions.WriteString(create(i, fmt.Sprint("org", i), "ann", "x"))
	}
	for limits, want := range map[string]string{"": "signup_ip", "signup_ip=off": "signup_domain"} {
		status, _, stderr := playDemo(t, limits, actions.String())
		if status != failure || !strings.Contains(stderr, "the limit is "+want) || !strings.Contains(stderr, "start the server with "+want+"=off in KLUIS_LIMITS") {
			t.Errorf("%q: status %d, %s", limits, status, stderr)
		}
	}
}

// Rejected lines are listed, each with its number and the reason, and the exit status is 1, unless that is allowed. The count leaves them out.
func TestDemoWithRejects(t *testing.T) {
	t.Parallel()
	var actions strings.Builder
	var want []string
	for i := range 6 {
		actions.WriteString(create(i, "org", "ann", "x") + create(i, "other", "bob", "x"))
		fmt.Fprintf(&actions, `{"at":"2026-01-01T00:00:00Z","org":"org","actor":"ann","do":"task.status","task":"T%d","status":"eaten"}`+"\n", i)
		want = append(want, fmt.Sprintf(`  line %d: T%d: there is no status like "eaten"`, 3*i+3, i))
	}
	for _, flags := range [][]string{nil, {"--allow-refusals"}} {
		status, stdout, stderr := playDemo(t, "", actions.String(), flags...)
		if allowed := flags != nil; (status == success) != allowed || strings.Contains(stderr, "cannot be imported") == allowed || status > failure ||
			strings.Count(stdout, "right\n") != 2 || !strings.Contains(stdout, "\nRejected\n"+strings.Join(want, "\n")+"\n") {
			t.Errorf("%v: status %d, %s\n%s", flags, status, stderr, stdout)
		}
	}
}
