package http

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What an answer says of the time is by one clock, the database's. How long something takes, and when a connection is given up, is by that of
// the process.
func TestOneClock(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	lasts := regexp.MustCompile(`(start :?= |wrote:? ?=? |end: |now := |Deadline\(|throttle\.allow\()time\.Now\(\)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if rest := lasts.ReplaceAllString(string(text), ""); !strings.HasSuffix(file, "_test.go") && strings.Contains(rest, "time.Now") {
			t.Errorf("%s reads the clock of its process: ask the database", file)
		}
	}
}
