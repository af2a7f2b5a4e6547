package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kluis-eu/kluis/migrations"
	"github.com/kluis-eu/kluis/projections"
)

// edit is a change of a file for the next version: old, which occurs once, becomes new.
type edit struct{ file, old, new string }

// edits make the next version of Kluis. Completing a task makes one more event, of a type that this version does not know, and a task has one more field.
// Titles are folded with a mark at their end.
var edits = []edit{
	{"domain/task.go", `return []Event{TaskCompleted{}}, nil`, `return []Event{TaskCompleted{}, TaskTinted{Tint: "red"}}, nil`},
	{"domain/task.go", "\tPosition        int64          `json:\"position\"`\n", "\tPosition        int64          `json:\"position\"`\n\tTint string `json:\"tint\"`\n"},
	{"domain/task_event.go", "\tTaskRestored struct{}\n", "\tTaskRestored struct{}\n\tTaskTinted struct { Tint string `json:\"tint\"` }\n"},
	{"domain/task_event.go", "\tregister[TaskRestored](\"task.restored\")\n", "\tregister[TaskRestored](\"task.restored\")\n\tregister[TaskTinted](\"task.tinted\")\n"},
	{"domain/task_event.go", "\tcase TaskDeleted:\n", "\tcase TaskTinted:\n\t\tt.Tint = e.Tint\n\tcase TaskDeleted:\n"},
	{"domain/task_event.go", "ID: id, Title: e.Title,", "ID: id, Title: e.Title + nextMark,"},
	{"domain/task_event.go", "\tset(&t.Title, e.Title)\n", "\tif e.Title != nil {\n\t\tt.Title = *e.Title + nextMark\n\t}\n"},
	{"domain/task_event.go", "// Apply folds one event of the task's stream", "const nextMark = \"!\"\n\n// Apply folds one event of the task's stream"},
	{"projections/shape.go", fmt.Sprintf("const Shape = %d\n", projections.Shape), fmt.Sprintf("const Shape = %d\n", projections.Shape+1)},
}

// buildNext builds the next version, with one more migration in both lines, from an overlay of the files of this one. Unchanged packages
// come from the cache. The large packages are not optimised, which compiles them in half the time.
var buildNext = sync.OnceValues(func() (program string, err error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "kluis-next-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	texts, err := edited(root)
	if err != nil {
		return "", err
	}
	for line, more := range map[string]struct{ folder, sql string }{
		"control":   {"control", "create table further (x int);"},
		"workspace": {"workspace", "alter table task add column tint text not null default '';"},
	} {
		n, err := countFiles(line)
		if err != nil {
			return "", err
		}
		texts[filepath.Join(root, "migrations", more.folder, fmt.Sprintf("%03d_next.sql", n+1))] = more.sql
	}
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(dir, fmt.Sprint(len(replace)))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay"), overlay, 0o600); err != nil {
		return "", err
	}
	program = binary + ".next"
	args := []string{"build", "-ldflags=-s -w", "-overlay", filepath.Join(dir, "overlay"), "-o", program}
	for _, large := range []string{"domain", "projections", "commands", "http"} {
		args = append(args, "-gcflags=github.com/kluis-eu/kluis/"+large+"=-N -l")
	}
	said, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the next version: %w: %s", err, said)
	}
	return program, err
})

func countFiles(line string) (int, error) {
	files := migrations.Control
	if line == "workspace" {
		files = migrations.Workspace
	}
	entries, err := files.ReadDir(line)
	return len(entries), err
}

// edited gives the changed files of the next version, by path.
func edited(root string) (map[string]string, error) {
	texts := map[string]string{}
	for _, e := range edits {
		path := filepath.Join(root, e.file)
		if texts[path] == "" {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			texts[path] = string(text)
		}
		if n := strings.Count(texts[path], e.old); n != 1 {
			return nil, fmt.Errorf("%s has %q %d times: write the edit anew", e.file, e.old, n)
		}
		texts[path] = strings.Replace(texts[path], e.old, e.new, 1)
	}
	return texts, nil
}

// next gives the same home for the next version.
func (h *home) next(t *testing.T) *home {
	t.Helper()
	program, err := buildNext()
	if err != nil {
		t.Fatal(err)
	}
	return h.with(program)
}
