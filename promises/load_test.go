package promises

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// load is many writers with random commands on few things; each command has a text of its own.
type load struct {
	tasks    []domain.Task
	comments []uuid.UUID
	people   []uuid.UUID
	mu       sync.Mutex
	done     map[string]int64 // the texts of commands that were acknowledged, with their position
	refused  map[string]bool
	outcomes map[string]int
}

func (l *load) note(t tester, text string, a reply) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.status/100 == 2 {
		l.outcomes["done"]++
		l.done[text] = a.position(t)
		return
	}
	l.outcomes[fmt.Sprint(a.status, " ", a.outcome(t))]++
	l.refused[text] = true
	if a.status >= 500 {
		t.Errorf("%s: %d %s", a.what, a.status, a.body)
	}
}

// write sends one random command.
func (l *load) write(t tester, c *client) {
	t.Helper()
	text := uuid.NewString()
	at := taskPath(l.tasks[rand.N(len(l.tasks))])
	l.mu.Lock()
	comment := "/api/comments/" + l.comments[rand.N(len(l.comments))].String()
	l.mu.Unlock()
	switch rand.N(13) {
	case 0, 1, 2:
		a := c.call(t, "POST", "/api/tasks", object{"title": text})
		l.note(t, text, a)
		if shown := c.call(t, "GET", "/api/tasks?limit=200", nil); a.status == 201 && shown.status == 200 && !strings.Contains(string(shown.body), text) {
			t.Errorf("a task is not listed at once")
		}
	case 3, 4, 5:
		l.note(t, text, c.call(t, "PATCH", at, object{"title": text}))
	case 6:
		l.note(t, text, c.call(t, "PATCH", at, object{"title": text, "status": domain.TaskStatuses[rand.N(4)], "assignee_ids": l.people[rand.N(2):]}))
	case 7:
		l.note(t, text, c.call(t, "PATCH", at, object{"title": text}, fmt.Sprintf(`If-Match: "%d"`, 1+rand.N(20))))
	case 8:
		a := c.call(t, "POST", at+"/comments", object{"body": text})
		if l.note(t, text, a); a.status == 201 {
			l.mu.Lock()
			l.comments = append(l.comments, decode[domain.Comment](t, a).ID)
			l.mu.Unlock()
		}
	case 9:
		l.note(t, text, c.call(t, "PATCH", comment, object{"body": text}))
	case 12:
		l.note(t, text, c.call(t, "PATCH", at, object{"title": text, "parent_id": l.tasks[rand.N(len(l.tasks))].ID}))
	case 10:
		way := []string{"complete", "reopen", "restore"}[rand.N(3)]
		l.note(t, "", c.call(t, "POST", at+"/"+way, nil))
	case 11:
		if way := rand.N(3); way == 0 {
			l.note(t, "", c.call(t, "DELETE", at, nil))
		} else {
			l.note(t, "", c.call(t, []string{"PUT", "DELETE"}[way-1], at+"/viewers/"+l.people[0].String(), nil))
		}
	}
}

// Whatever is written in two processes at once: the log has all that was acknowledged, once, in one order, the read
// models are what it makes of them, and what is refused is refused although others go on writing.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{true, false} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			t.Parallel()
			p := newProcesses(t, 2, background)
			ada := p[0].signUp(t)
			l := &load{done: map[string]int64{}, refused: map[string]bool{}, outcomes: map[string]int{}}
			writers := []*client{ada, ada.member(t, "manager"), ada.member(t, "manager")}
			for range 6 {
				l.tasks = append(l.tasks, ada.newTask(t))
			}
			l.comments = []uuid.UUID{decode[domain.Comment](t, ada.call(t, "POST", taskPath(l.tasks[0], "comments"), object{"body": "x"}).want(t, 201)).ID}
			l.people = []uuid.UUID{writers[1].id, writers[2].id}
			length := 3 * time.Second
			if testing.Short() {
				length = time.Second
			}
			end := time.Now().Add(length)
			parallel(10, func(i int) {
				for time.Now().Before(end) {
					switch i {
					case 8:
						l.refuse(t, ada.on(p[rand.N(2)]))
					case 9:
						l.shuffle(t, ada.on(p[rand.N(2)]))
					default:
						l.write(t, writers[i%3].on(p[i%2]))
					}
				}
			})
			t.Log(l.outcomes)
			l.check(t, ada)
			ada.judge(t)
			if background {
				caughtUp(t, ada)
			}
			ada.noDrift(t)
		})
	}
}

// shuffle changes who may do what: the roster moves under the feet of everybody.
func (l *load) shuffle(t tester, admin *client) {
	t.Helper()
	time.Sleep(rand.N(60 * time.Millisecond))
	at := "/api/members/" + l.people[rand.N(2)].String()
	switch rand.N(4) {
	case 0:
		l.note(t, "", admin.call(t, "POST", at+"/deactivate", nil))
	case 1:
		l.note(t, "", admin.call(t, "POST", at+"/reactivate", nil))
	default:
		l.note(t, "", admin.call(t, "PATCH", at, object{"role": []string{"manager", "member", "viewer"}[rand.N(3)]}))
	}
}

// refuse asks for what is refused for good: never for later.
func (l *load) refuse(t tester, c *client) {
	t.Helper()
	for _, a := range []reply{
		c.call(t, "GET", "/api/tasks/"+uuid.NewString(), nil),
		c.call(t, "DELETE", "/api/tasks/"+uuid.NewString(), nil),
		c.call(t, "POST", "/api/tasks/"+uuid.NewString()+"/comments", object{"body": "x"}),
	} {
		if a.status != 404 {
			t.Errorf("%s: %d %s", a.what, a.status, a.body)
		}
	}
	if a := c.call(t, "POST", "/api/tasks", object{"title": "x", "parent_id": uuid.NewString()}); a.status != 422 {
		t.Errorf("%s: %d %s", a.what, a.status, a.body)
	}
}

// check looks for each text in the log.
func (l *load) check(t *testing.T, c *client) {
	t.Helper()
	times, where := map[string]int{}, map[string]int64{}
	for _, r := range c.log(t) {
		data := string(r.Data)
		for _, field := range []string{`"title":"`, `"body":"`} {
			if _, text, found := strings.Cut(data, field); found && len(text) > 36 {
				times[text[:36]]++
				where[text[:36]] = r.Position
			}
		}
	}
	for text, position := range l.done {
		if text != "" && (times[text] != 1 || where[text] > position) {
			t.Errorf("acknowledged at %d, %d times in the log, at %d", position, times[text], where[text])
		}
	}
	for text := range l.refused {
		if text != "" && times[text] != 0 {
			t.Errorf("refused, and in the log at %d", where[text])
		}
	}
}

// caughtUp waits until the background has derived the read models, with nobody reading.
func caughtUp(t *testing.T, c *client) {
	t.Helper()
	var head, checkpoint int64
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err := c.db.Read(context.Background(), c.workspace, pg.Exec(`select head.position, checkpoint.position from head, checkpoint`).Scan(&head, &checkpoint)); err != nil {
			t.Fatal(err)
		}
		if head == checkpoint {
			return
		}
	}
	t.Errorf("the background is at %d of %d", checkpoint, head)
}
