package projections

import (
	"fmt"
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

// The state of a thing at a moment is the fold of its records up to that moment, whatever followed.
func TestTaskAsOf(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	id := p.task(t, by, "first")
	for i := range 5 {
		title := fmt.Sprint("title ", i)
		p.append(t, by.Workspace, by.Member, domain.TaskStream(id), i+1, domain.TaskUpdated{Title: &title})
	}
	records := p.log(t, by.Workspace)[2:]
	for i, r := range records {
		task, _, err := Tasks.AsOf(minute(t), p.Projections, by, id, r.At)
		last := i
		for last+1 < len(records) && !records[last+1].At.After(r.At) { // several records may have the same microsecond
			last++
		}
		if err != nil || task.Version != last+1 || task.Title != Tasks.Fold(records[:last+1]).Title {
			t.Errorf("at %s: %+v, %v, want version %d", r.At, task, err, last+1)
		}
	}
	if _, _, err := Tasks.AsOf(minute(t), p.Projections, by, id, records[0].At.Add(-1000)); err == nil {
		t.Error("the task exists before its first event")
	}
}
