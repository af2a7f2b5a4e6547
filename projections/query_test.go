package projections

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// A removed viewer does not see the task while no process can fold, because queries with a scope below all are answered from fresh rows alone. A
// caller with scope all is told how many events are missing, and histories and as_of end at the mark.
func TestNarrowScopesAreNeverStale(t *testing.T) {
	t.Parallel()
	first := newProcess(t)
	p := start(t, first.url, 200*time.Millisecond)
	ada := p.found(t)
	w := ada.Workspace
	viewer := uuid.Must(uuid.NewV7())
	p.append(t, w, ada.Member, domain.RosterStream, 1, domain.MemberAdded{MemberID: viewer, Email: "sealed", FullName: "sealed too", Role: "viewer"})
	role, _ := domain.BuiltInRole("viewer")
	vic := Actor{Workspace: w, Member: viewer, Role: role, Roster: 2}
	if vic.Scope(domain.ReadTask) != domain.Own {
		t.Fatalf("a viewer reads tasks over scope %q", vic.Scope(domain.ReadTask))
	}
	task := p.task(t, ada, "to be seen")
	p.append(t, w, ada.Member, domain.TaskStream(task), 1, domain.TaskViewerAdded{MemberID: viewer})
	comment := uuid.Must(uuid.NewV7())
	p.append(t, w, ada.Member, domain.CommentStream(comment), 0, domain.CommentCreated{TaskID: task, Body: "a comment"})
	reads := func(by Actor) map[string]func() (Mark, error) {
		return map[string]func() (Mark, error){
			"GetTask": func() (Mark, error) { _, m, err := Tasks.Get(minute(t), p.Projections, by, task); return m, err },
			"ListTasks": func() (Mark, error) {
				_, m, err := p.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 9})
				return m, err
			},
			"TaskHistory": func() (Mark, error) {
				_, m, err := Tasks.History(minute(t), p.Projections, by, task, Place{}, 200)
				return m, err
			},
			"TaskAsOf": func() (Mark, error) {
				_, m, err := Tasks.AsOf(minute(t), p.Projections, by, task, time.Now())
				return m, err
			},
			"ListComments": func() (Mark, error) {
				_, m, err := Comments.List(minute(t), p.Projections, by, Page{Limit: 9}, CommentFilter{Task: &task})
				return m, err
			},
		}
	}
	for name, read := range reads(vic) {
		if mark, err := read(); err != nil || mark.Behind() != 0 {
			t.Errorf("a viewer, %s: %+v, %v", name, mark, err)
		}
	}
	release := p.hold(t, w)
	title := "not for viewers"
	p.append(t, w, ada.Member, domain.TaskStream(task), 2, domain.TaskViewerRemoved{MemberID: viewer}, domain.TaskUpdated{Title: &title})
	for name, read := range reads(vic) {
		_, err := read()
		if refusal, is := domain.Refusal(err); !is || refusal.Code != "catching_up" || refusal.Kind != domain.Unavailable || refusal.RetryAfter <= 0 {
			t.Errorf("a former viewer, %s: %v", name, err)
		}
	}
	for name, read := range reads(ada) {
		if mark, err := read(); err != nil || mark.Behind() != 2 {
			t.Errorf("a caller with scope all, %s: %+v, %v", name, mark, err)
		}
	}
	lines, mark, err := Tasks.History(minute(t), p.Projections, ada, task, Place{}, 200)
	if err != nil || len(lines) == 0 || lines[len(lines)-1].Type != "comment.created" || mark.Position != mark.Head-2 {
		t.Errorf("the history goes beyond the mark %+v: %+v, %v", mark, lines, err)
	}
	then, _, err := Tasks.AsOf(minute(t), p.Projections, ada, task, time.Now().Add(time.Hour))
	if err != nil || then.Title != "to be seen" || then.Version != 2 {
		t.Errorf("as of now goes beyond the mark: %+v, %v", then, err)
	}
	release()
	for name, read := range reads(vic) {
		_, err := read()
		if refusal, is := domain.Refusal(err); name != "ListTasks" && name != "ListComments" && (!is || refusal.Kind != domain.NotFound) {
			t.Errorf("afterwards, %s: %v", name, err)
		}
	}
	if rows, mark, err := p.ListTasks(minute(t), vic, TaskFilter{}, Page{Limit: 9}); err != nil || len(rows) != 0 || mark.Behind() != 0 {
		t.Errorf("afterwards, ListTasks: %d rows, %+v, %v", len(rows), mark, err)
	}
}

// A silent holder of the checkpoint delays reads of its workspace by the bound, and does not use up the connections of other workspaces.
func TestASilentHolderOfTheCheckpoint(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	ada, neighbour := p.found(t), p.found(t)
	release := p.hold(t, ada.Workspace)
	defer release()
	p.task(t, ada, "not folded")
	id := p.task(t, neighbour, "folded")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 60 { // three for each connection
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, mark, err := p.ListTasks(minute(t), ada, TaskFilter{}, Page{Limit: 9}); err == nil && mark.Behind() == 0 {
					t.Error("it was folded")
				}
			}
		})
	}
	slowest := time.Duration(0)
	for begun := time.Now(); time.Since(begun) < 3*time.Second; time.Sleep(20 * time.Millisecond) {
		asked := time.Now()
		if _, _, err := Tasks.Get(minute(t), p.Projections, neighbour, id); err != nil {
			t.Error(err)
		}
		slowest = max(slowest, time.Since(asked))
	}
	if slowest > 4*time.Second {
		t.Errorf("the neighbour waited for %s", slowest)
	}
	close(stop)
	readers.Wait()
}
