package commands

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/imports"
	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/projections"
)

// An import plays the history of another tracker through the commands that members use. The importer is the actor, and the original time and author are
// facts of each event.
//
//  1. One goroutine reads the actions in their order, and makes the people, projects and tags that are not there yet.
//  2. Each action goes to one of several workers: all actions on one task to the same worker, and all working time of one member to the same worker. An
//     action on a task that is still being made waits for the task. An action waits only for actions before it in the file, so no two wait for each
//     other.
//  3. Every command has a key that is made of the source and of the id over there, and that is kept for ever. An action that is played once more
//     changes nothing, and gets the first answer. So an import that was broken off begins from the start.

// importWorkers is how many actions are under way at once.
const importWorkers = 16

// importPatience is how long an import waits for a database that is away.
const importPatience = 2 * time.Minute

// Importing is what Import plays.
type Importing struct {
	Source  string // names the other tracker, such as "jira"; the source and the id over there name a thing
	Actions iter.Seq2[imports.Action, error]

	Progress func(ImportCounts)   // is called about once a second, and at the end; nil: nobody
	Rejected func(imports.Reject) // is called for each line that cannot be imported; nil: nobody
}

// ImportCounts is the progress of an import.
type ImportCounts struct {
	Actions  int            `json:"actions" doc:"That were read."`
	Played   map[string]int `json:"played" doc:"That were played now, by what they do."`
	Repeated int            `json:"repeated" doc:"That an earlier import, or an earlier try of this one, had played."`
	Rejected int            `json:"rejected" doc:"That cannot be imported: see rejects."`
	People   int            `json:"people" doc:"Placeholders that were made of people without an account."`

	Dates map[string]string `json:"dates,omitempty" example:"{\"due_on\": \"day/month/year\"}" doc:"Of a CSV: in which order the dates with slashes of a column were read; left out when there are none."`
}

// importer is one import under way.
type importer struct {
	Importing
	c    *Commands
	in   pg.Workspace
	own  vault.Key // the workspace's
	base Request   // guarded by mu: its actor is read anew

	people, projects, tags map[string]uuid.UUID
	tasks, comments        map[string]*made
	seed                   maphash.Seed

	mu     sync.Mutex
	counts ImportCounts
}

// made is the thing that an action makes.
type made struct {
	done chan struct{}
	id   uuid.UUID // uuid.Nil when it was refused
}

func (m *made) wait(ctx context.Context) (uuid.UUID, error) {
	select {
	case <-m.done:
	case <-ctx.Done():
		return uuid.Nil, ctx.Err()
	}
	if m.id == uuid.Nil {
		return uuid.Nil, rejectAction("the thing that it is about was rejected")
	}
	return m.id, nil
}

// Import plays an import, as the actor by. An error ends it. The same import, played again, goes on from there.
func (c *Commands) Import(ctx context.Context, by projections.Actor, from Origin, in Importing) (ImportCounts, error) {
	i := &importer{Importing: in, c: c, in: by.Workspace, people: map[string]uuid.UUID{}, projects: map[string]uuid.UUID{}, tags: map[string]uuid.UUID{},
		tasks: map[string]*made{}, comments: map[string]*made{}, seed: maphash.MakeSeed(), counts: ImportCounts{Played: map[string]int{}}}
	i.base = Request{By: by, Origin: from, renew: func(ctx context.Context, by projections.Actor) (*projections.Actor, error) {
		return c.Projections.Standing(ctx, by)
	}}
	var err error
	if i.own, err = c.Vault.Key(ctx, by.Workspace, by.Workspace.ID); err != nil {
		return i.counts, err
	}
	if err := i.refresh(ctx); err != nil {
		return i.counts, err
	}
	if err := allow(i.base.By, domain.CreateImport); err != nil {
		return i.counts, err
	}
	underWay, ended := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() { i.reportEverySecond(underWay) })
	err = i.run(ctx)
	ended()
	telling.Wait()
	i.reportProgress()
	return i.counts, err
}

// job is an action with everything that its worker needs.
type job struct {
	imports.Action
	by    uuid.UUID
	task  *made // the task that the action is about; nil for one that makes a task
	makes *made // the thing that the action makes; nil when no other action can wait for it
	play  func(context.Context, Request) (repeated bool, err error)
}

func (i *importer) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	queues := make([]chan job, importWorkers)
	for n := range queues {
		queues[n] = make(chan job, 64)
		group.Go(panics.Caught(func() error {
			for j := range queues[n] {
				if err := i.work(ctx, j); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	group.Go(panics.Caught(func() error {
		defer func() {
			for _, queue := range queues {
				close(queue)
			}
		}()
		for action, err := range i.Actions {
			if action.Do != imports.SayPerson { // a line about a person is no action
				i.count(func(n *ImportCounts) { n.Actions++ })
			}
			if err == nil {
				err = i.dispatch(ctx, action, queues)
			}
			if err = i.rejects(action, err); err != nil {
				return err
			}
		}
		return nil
	}))
	return group.Wait()
}

// rejects reports an error that concerns one line only, and returns any other error.
func (i *importer) rejects(a imports.Action, err error) error {
	if err == nil {
		return nil
	}
	reject, is := errors.AsType[*imports.Reject](err)
	if !is {
		refusal, refused := domain.Refusal(err)
		if !refused || refusal.Kind == domain.Unavailable {
			return err
		}
		reject = &imports.Reject{Line: a.Line, Reason: refusalText(refusal)}
	}
	if a.Task != "" {
		reject = &imports.Reject{Line: reject.Line, Reason: a.Task + ": " + reject.Reason}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.counts.Rejected++
	if i.Rejected != nil {
		i.Rejected(*reject)
	}
	return nil
}

// refusalText is the text of a refusal for the author of a file, who never saw a request.
func refusalText(refusal *domain.Error) string {
	if len(refusal.Fields) == 0 {
		return refusal.Detail
	}
	var faults []string
	for _, f := range refusal.Fields {
		faults = append(faults, strings.TrimPrefix(f.Pointer, "/")+" "+f.Detail)
	}
	return strings.Join(faults, "; ")
}

func (i *importer) count(change func(*ImportCounts)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(&i.counts)
}

// reportEverySecond reports the progress of the import, once a second until ctx ends.
func (i *importer) reportEverySecond(ctx context.Context) {
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for {
		select {
		case <-each.C:
			i.reportProgress()
		case <-ctx.Done():
			return
		}
	}
}

func (i *importer) reportProgress() {
	i.mu.Lock()
	counts := i.counts
	counts.Played = maps.Clone(counts.Played)
	i.mu.Unlock()
	if i.Progress != nil {
		i.Progress(counts)
	}
}

// work plays one action.
func (i *importer) work(ctx context.Context, j job) error {
	if j.makes != nil {
		defer close(j.makes.done)
	}
	r := i.request(j.Action, j.by)
	repeated := false
	err := retryOutage(ctx, func() (err error) {
		repeated, err = j.play(ctx, r)
		return err
	})
	if err != nil {
		return i.rejects(j.Action, err)
	}
	i.count(func(n *ImportCounts) {
		if repeated {
			n.Repeated++
		} else {
			n.Played[string(j.Do)]++
		}
	})
	return nil
}

// request makes the request for an action: with its original time and author, and its key.
func (i *importer) request(a imports.Action, by uuid.UUID) Request {
	i.mu.Lock()
	r := i.base
	i.mu.Unlock()
	r.Original = &domain.Original{At: a.At.UTC().Truncate(time.Microsecond), By: by}
	r.Once = i.keyOf(a, by)
	return r
}

// keyOf gives the key of an action, which stays the same for ever. The key of a task or a comment is made of its name over there, whatever else the line
// says. Any other key is made of the fields of the line and of the author.
func (i *importer) keyOf(a imports.Action, by uuid.UUID) *Once {
	switch a.Do {
	case imports.CreateTask:
		return i.key(string(a.Do), a.Task)
	case imports.AddComment:
		return i.key(string(a.Do), a.Task, a.ID)
	}
	said := a.At.UTC().Format(time.RFC3339Nano) + a.Start.UTC().Format(time.RFC3339Nano)
	body := ""
	if a.Body != nil {
		body = *a.Body
	}
	return i.key(string(a.Do), a.Task, a.ID, said, by.String(), a.Status, strconv.Itoa(a.Minutes), a.Activity, body)
}

// key makes an idempotency key that is kept for ever. It is a keyed hash, because e-mail addresses could be guessed from a plain one.
func (i *importer) key(kind string, parts ...string) *Once {
	text := strings.Join(append([]string{"import", i.in.ID.String(), i.Source, kind}, parts...), "\x00")
	return &Once{Key: [32]byte(i.own.MAC("import", text)), Kept: true}
}

// temporary tells whether the same call may succeed later: the database is away, or something that Kluis needs is unavailable.
func temporary(err error) bool {
	refusal, refused := domain.Refusal(err)
	_, outage := pg.OutageOf(err)
	return outage || refused && refusal.Kind == domain.Unavailable
}

// retryOutage runs a function again while its error is temporary, for about importPatience.
func retryOutage(ctx context.Context, do func() error) error {
	pause, waited := 100*time.Millisecond, time.Duration(0)
	for {
		err := do()
		if !temporary(err) || waited > importPatience {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		waited, pause = waited+pause, min(2*pause, 5*time.Second)
	}
}

// dispatch finds what an action needs, and hands it to a worker.
func (i *importer) dispatch(ctx context.Context, a imports.Action, queues []chan job) error {
	if _, known := i.people[a.By.Code]; known && a.Do == imports.SayPerson {
		return rejectAction("an earlier line is about the person %q: describe a person before the first line about that person", a.By.Code)
	}
	j := job{Action: a}
	var err error
	if j.by, err = i.person(ctx, a.By, a); err != nil || a.Do == imports.SayPerson {
		return err
	}
	route := a.Task
	switch a.Do {
	case imports.CreateTask:
		err = i.newTask(ctx, &j)
	case imports.SetStatus:
		err = i.onTask(&j, i.setStatus)
	case imports.AddComment:
		err = i.addComment(&j)
	case imports.EditComment:
		err = i.editComment(&j)
	case imports.LogTime:
		route = "\x00" + a.By.Code
		err = i.onTask(&j, i.logTime)
	}
	if err != nil {
		return err
	}
	select {
	case queues[maphash.String(i.seed, route)%uint64(len(queues))] <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// plainTask gives the fields of an action's task that refer to no other thing.
func (i *importer) plainTask(a imports.Action) (wanted domain.TaskCreated, err error) {
	source := i.Source
	wanted = domain.TaskCreated{Title: truncate(a.Title, domain.MaxTitle), EstimateMinutes: a.Estimate, ExternalSource: &source, ExternalID: &a.Task}
	if a.Body != nil {
		wanted.Description = *a.Body
	}
	wanted.Priority, _ = imports.Priority(a.Priority) // an unknown one counts as none
	wanted.Status, _ = imports.Status(a.Status)       // an unknown one counts as open
	if wanted.DueOn, err = day(a.DueOn); err != nil {
		return wanted, err
	}
	wanted.StartOn, err = day(a.StartOn)
	return wanted, err
}

func (i *importer) newTask(ctx context.Context, j *job) error {
	a := j.Action
	if i.tasks[a.Task] != nil {
		return rejectAction("an earlier action makes the task %q already", a.Task)
	}
	wanted, err := i.plainTask(a)
	if err != nil {
		return err
	}
	if a.Project != "" {
		project, err := i.project(ctx, a)
		if err != nil {
			return err
		}
		wanted.ProjectID = &project
	}
	for _, person := range a.Assignees {
		id, err := i.person(ctx, person, a)
		if err != nil {
			return err
		}
		wanted.AssigneeIDs = append(wanted.AssigneeIDs, id)
	}
	for _, name := range a.Tags {
		id, err := i.tag(ctx, name, a)
		if err != nil {
			return err
		}
		wanted.TagIDs = append(wanted.TagIDs, id)
	}
	parent := i.tasks[a.Parent]
	if a.Parent != "" && parent == nil {
		return rejectAction("no earlier action makes the parent task %q", a.Parent)
	}
	task := &made{done: make(chan struct{})}
	i.tasks[a.Task], j.makes = task, task
	j.play = func(ctx context.Context, r Request) (bool, error) {
		if parent != nil {
			id, err := parent.wait(ctx)
			if err != nil {
				return false, err
			}
			wanted.ParentID = &id
		}
		done, err := i.c.CreateTask(ctx, r, wanted)
		task.id = done.State.ID
		return done.Repeated, err
	}
	return nil
}

// onTask plans an action on a task that an earlier action makes. The worker waits for the task.
func (i *importer) onTask(j *job, play func(context.Context, Request, *job, uuid.UUID) (bool, error)) error {
	if j.task = i.tasks[j.Task]; j.task == nil {
		return rejectAction("no earlier action makes the task %q", j.Task)
	}
	on := *j
	j.play = func(ctx context.Context, r Request) (bool, error) {
		id, err := on.task.wait(ctx)
		if err != nil {
			return false, err
		}
		return play(ctx, r, &on, id)
	}
	return nil
}

func (i *importer) setStatus(ctx context.Context, r Request, j *job, task uuid.UUID) (bool, error) {
	status, known := imports.Status(j.Status)
	if !known {
		return false, rejectAction("there is no status like %q", j.Status)
	}
	done, err := i.c.UpdateTask(ctx, r, task, domain.TaskChange{Status: &status})
	return done.Repeated, err
}

func (i *importer) logTime(ctx context.Context, r Request, j *job, task uuid.UUID) (bool, error) {
	done, err := i.c.CreateTimeEntry(ctx, r, TimeFields{MemberID: &j.by, TaskID: &task, Start: j.Start.UTC().Format(time.RFC3339), Minutes: &j.Minutes, Activity: j.Activity})
	return done.Repeated, err
}

func (i *importer) addComment(j *job) error {
	if i.comments[j.ID] != nil {
		return rejectAction("an earlier action makes the comment %q already", j.ID)
	}
	comment := &made{done: make(chan struct{})}
	err := i.onTask(j, func(ctx context.Context, r Request, j *job, task uuid.UUID) (bool, error) {
		done, err := i.c.CreateComment(ctx, r, task, *j.Body, nil)
		comment.id = done.State.ID
		return done.Repeated, err
	})
	if err == nil {
		i.comments[j.ID], j.makes = comment, comment
	}
	return err
}

func (i *importer) editComment(j *job) error {
	comment := i.comments[j.ID]
	if comment == nil {
		return rejectAction("no earlier action makes the comment %q", j.ID)
	}
	return i.onTask(j, func(ctx context.Context, r Request, j *job, _ uuid.UUID) (bool, error) {
		id, err := comment.wait(ctx)
		if err != nil || j.Body == nil { // the source kept no earlier text, and the comment has its last text
			return false, err
		}
		done, err := i.c.EditComment(ctx, r, id, *j.Body)
		return done.Repeated, err
	})
}

// rejectAction refuses an action that cannot follow the actions before it.
func rejectAction(format string, args ...any) error {
	return domain.Refuse(domain.Invalid, "not_importable", format, args...)
}

func day(text string) (*domain.Date, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > len(time.DateOnly) {
		text = text[:len(time.DateOnly)]
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return nil, rejectAction("%q is no day such as 2006-01-02", text)
	}
	date := domain.Date(text)
	return &date, nil
}

// truncate trims a text, and shortens it to most characters, so that the action is imported all the same.
func truncate(text string, most int) string {
	runes := []rune(strings.TrimSpace(text))
	if len(runes) > most {
		return fmt.Sprintf("%s…", string(runes[:most-1]))
	}
	return string(runes)
}
