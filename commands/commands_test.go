package commands

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Everything ends by one clock, the database's. A machine whose clock is a year ahead must not end what is valid, or accept what has ended.
func TestOneClock(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// Durations may use the machine's clock, and pruning compares the two clocks.
		instants := strings.NewReplacer("begun := time.Now()", "", "n.Wall = time.Now", "").Replace(string(text))
		if !strings.HasSuffix(file, "_test.go") && strings.Contains(instants, "time.Now") {
			t.Errorf("%s reads the clock of its process: ask the database, in the statement that compares", file)
		}
	}
	h := newHouse(t, settings{})
	if now, err := h.now(t.Context()); err != nil || time.Since(now).Abs() > time.Minute {
		t.Errorf("the database says %s, %v", now, err)
	}
}
