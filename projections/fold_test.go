package projections

import (
	"fmt"
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

// What one moment was is what there was then: the fold of a prefix of a thing's history, however it went on.
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
		for last+1 < len(records) && !records[last+1].At.After(r.At) { // several may be of one microsecond
			last++
		}
		if err != nil || task.Version != last+1 || task.Title != Tasks.Fold(records[:last+1]).Title {
			t.Errorf("at %s: %+v, %v, want version %d", r.At, task, err, last+1)
		}
	}
	if _, _, err := Tasks.AsOf(minute(t), p.Projections, by, id, records[0].At.Add(-1000)); err == nil {
		t.Error("it was there before it began")
	}
}
