package projections

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/eventstore"
)

// No fold skips an event that the log lacks, because the rows would be wrong for ever.
func TestGaps(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	for hole, want := range map[string]eventstore.GapError{
		"position = 1": {Want: 1, Got: 2},
		"position = 4": {Want: 4, Got: 5},
		"position = 6": {Want: 6},
	} {
		by := p.found(t)
		for i := range 4 {
			p.task(t, by, fmt.Sprint(i))
		}
		p.admin(t, `delete from `+by.Workspace.Schema()+`.event where `+hole)
		for name, read := range map[string]func() error{
			"CatchUp": func() error { _, err := p.CatchUp(minute(t), by.Workspace); return err },
			"a list":  func() error { _, _, err := p.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10}); return err },
			"Rebuild": func() error { _, err := p.Rebuild(minute(t), by.Workspace, nil); return err },
			"Check":   func() error { _, err := p.Check(minute(t), by.Workspace, nil); return err },
		} {
			begun := time.Now()
			err := read()
			var gap *eventstore.GapError
			if !errors.As(err, &gap) || *gap != want {
				t.Errorf("without %s, %s: %v, want %v", hole, name, err, &want)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("without %s, %s took %s", hole, name, took)
			}
		}
	}
	by := p.found(t) // folded before the event was lost: a rebuild finds the gap
	for i := range 4 {
		p.task(t, by, fmt.Sprint(i))
	}
	if _, err := p.CatchUp(minute(t), by.Workspace); err != nil {
		t.Fatal(err)
	}
	p.admin(t, `delete from `+by.Workspace.Schema()+`.event where position = 5`)
	var gap *eventstore.GapError
	if _, err := p.Rebuild(minute(t), by.Workspace, nil); !errors.As(err, &gap) {
		t.Errorf("Rebuild: %v", err)
	}
	if _, err := p.Check(minute(t), by.Workspace, nil); !errors.As(err, &gap) {
		t.Errorf("Check: %v", err)
	}
}
