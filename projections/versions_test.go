package projections

import (
	"errors"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// newer is a process of the next version, whose folds have the next shape, on the same database.
func (p *process) newer(t *testing.T) *process {
	t.Helper()
	q := start(t, p.url, p.bound)
	q.Projections.shape++
	return q
}

func (p *process) shapeInDirectory(t *testing.T, w pg.Workspace) (shape int) {
	t.Helper()
	if err := p.superuser(t).QueryRow(minute(t), `select shape from kluis.workspace where id = $1`, w.ID).Scan(&shape); err != nil {
		t.Fatal(err)
	}
	return shape
}

// What a newer fold wrote, an older one does not go on with: it reads that, waits for the newer one, and says what is missing when
// there is none. Nothing that it was told is lost.
func TestOlderDoesNotFold(t *testing.T) {
	t.Parallel()
	older := newProcess(t)
	older.bound = 200 * time.Millisecond
	by := older.found(t)
	older.task(t, by, "before")
	if mark, err := older.CatchUp(minute(t), by.Workspace); err != nil || mark.Shape != Shape || mark.Oldest != Shape {
		t.Fatalf("%+v, %v", mark, err)
	}
	newer := older.newer(t)
	older.task(t, by, "meanwhile")
	if mark, err := newer.CatchUp(minute(t), by.Workspace); err != nil || mark.Shape != Shape+1 || mark.Oldest != Shape {
		t.Errorf("the newer one goes on: %+v, %v", mark, err)
	}
	tasks, mark, err := older.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10})
	if err != nil || len(tasks) != 2 || mark.Behind() != 0 {
		t.Errorf("the older one reads: %d tasks, %+v, %v", len(tasks), mark, err)
	}

	alone := older.task(t, by, "alone")
	if _, err := older.Fold(minute(t), by.Workspace); !errors.Is(err, domain.ErrNewer) {
		t.Errorf("it folds: %v", err)
	}
	if tasks, mark, err = older.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 10}); err != nil || len(tasks) != 2 || mark.Behind() != 1 {
		t.Errorf("what nobody folds: %d tasks, %+v, %v", len(tasks), mark, err)
	}
	if _, _, err := Tasks.Get(minute(t), older.Projections, by, alone); !isUnavailable(err) {
		t.Errorf("a task that nobody folded: %v, want that it is asked for again", err)
	}
	older.bound = Bound
	time.AfterFunc(100*time.Millisecond, func() { _, _ = newer.Fold(minute(t), by.Workspace) })
	if task, _, err := Tasks.Get(minute(t), older.Projections, by, alone); err != nil || task.Title != "alone" {
		t.Errorf("a newer process folds meanwhile: %q, %v", task.Title, err)
	}
}

func isUnavailable(err error) bool {
	refusal, is := domain.Refusal(err)
	return is && refusal.Kind == domain.Unavailable
}

// A newer version finds the workspaces with rows of an older shape in one query, rebuilds those, and does not when it has folded all
// of it itself. An older one leaves those of a newer alone, unless an operator asks: then the newer one has them to do again.
func TestRenew(t *testing.T) {
	t.Parallel()
	older := newProcess(t)
	newer := older.newer(t)
	has, none := older.found(t).Workspace, older.found(t).Workspace
	if _, err := older.CatchUp(minute(t), has); err != nil {
		t.Fatal(err)
	}
	renew := func(p *process, w pg.Workspace, rebuilt bool, shape int) {
		t.Helper()
		events, err := p.Renew(minute(t), w, nil)
		if err != nil || events > 0 != rebuilt || p.shapeInDirectory(t, w) != shape {
			t.Errorf("%d events, %v, shape %d, want %d", events, err, p.shapeInDirectory(t, w), shape)
		}
	}
	if outdated, err := newer.Outdated(minute(t)); err != nil || len(outdated) != 2 {
		t.Errorf("%v, %v", outdated, err)
	}
	renew(newer, has, true, Shape+1)
	renew(newer, none, false, Shape+1)
	renew(newer, has, false, Shape+1)
	if outdated, err := newer.Outdated(minute(t)); err != nil || len(outdated) != 0 {
		t.Errorf("%v, %v", outdated, err)
	}
	renew(older, has, false, Shape+1)
	if _, err := older.Rebuild(minute(t), has, nil); err != nil || older.shapeInDirectory(t, has) != Shape {
		t.Errorf("behind a roll back: %v, shape %d", err, older.shapeInDirectory(t, has))
	}
	if mark, err := older.CatchUp(minute(t), has); err != nil || mark.Shape != Shape || mark.Oldest != Shape {
		t.Errorf("behind a roll back: %+v, %v", mark, err)
	}
	renew(newer, has, true, Shape+1)

	// Killed before the directory was told, it is told by the next pass.
	if err := newer.noteShape(minute(t), has, Shape); err != nil {
		t.Fatal(err)
	}
	renew(newer, has, false, Shape+1)
}
