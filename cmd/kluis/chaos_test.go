package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/toolbox"
)

// chaosTime is how long TestChaos makes trouble: KLUIS_CHAOS=10m, or a minute. From five minutes on one process has a wrong clock at times.
func chaosTime(t *testing.T) time.Duration {
	d, err := time.ParseDuration(cmp.Or(os.Getenv("KLUIS_CHAOS"), "1m"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// chaos is two processes on one Postgres, clients of both, and trouble.
type chaos struct {
	t       *testing.T
	home    *home
	servers [2]*seat
	members [3]*client
	ids     [3]string
	begun   time.Time
	end     context.Context
	tasks   history
	roster  history
	created load   // of tasks that are only created
	wrong   string // the program on a machine whose clock is a year ahead; empty: none
	names   atomic.Int64

	mu     sync.Mutex
	faults []fault
	codes  map[string]int // answers that there is nothing to judge in, and how often
}

// seat is a server's place: an address that outlives processes.
type seat struct {
	listen string
	mu     sync.Mutex
	server *server
	unripe []span // in which it was not ready
}

// revive starts a server anew whose start met a fault of the database, as a supervisor does. A server that has served does not end by itself.
func (s *seat) revive(c *chaos) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.server.ended:
	default:
		return
	}
	if said, status := s.server.log.String(), s.server.cmd.ProcessState.ExitCode(); status != failure || strings.Contains(said, `"msg":"serving"`) {
		c.t.Errorf("it ended by itself, with %d:\n%s", status, said[max(0, len(said)-2000):])
	}
	c.t.Logf("%6.1f s: a start failed, and is repeated", time.Since(c.begun).Seconds())
	s.server = c.home.startAt(c.t, s.listen)
}

func (s *seat) ready() bool { return isReady("http://" + s.listen) }

type (
	span  struct{ from, to time.Duration }
	fault struct {
		span
		name string
	}
)

// Two processes, 32 clients, and every few seconds one of them, or Postgres, is killed, stopped, restarted, cut off, or read-only.
// At the end nothing acknowledged is missing, positions have no gap, the history of requests and answers is that of one copy that does one thing at a
// time, and no process was unready for longer than the trouble and 5 seconds.
func TestChaos(t *testing.T) {
	c := &chaos{t: t, begun: time.Now(), codes: map[string]int{}}
	c.home = privateHome(t)
	c.home.env = append(c.home.env, "CLOCK_STEP_SECONDS=31536000")
	if chaosTime(t) >= 5*time.Minute {
		c.wrong = wrongClock(t)
	}
	for i := range c.servers {
		c.servers[i] = &seat{listen: toolbox.FreeAddress(t)}
		c.servers[i].server = c.home.startAt(t, c.servers[i].listen)
		c.servers[i].server.ready(t)
	}
	c.invite()
	c.tasks.begun, c.roster.begun = c.begun, c.begun
	c.created.seen = map[string]int{}
	var cancel context.CancelFunc
	c.end, cancel = context.WithCancel(t.Context())
	defer cancel()
	var clients, watchers sync.WaitGroup
	watched, unwatch := context.WithCancel(t.Context())
	for _, s := range c.servers {
		watchers.Go(func() { c.watch(watched, s) })
	}
	for group := range 5 {
		clients.Go(func() { c.writeTasks(group) })
	}
	for i := range 9 {
		clients.Go(func() { c.createTasks(i) })
	}
	for i := range 3 {
		clients.Go(func() { c.changeRoles(i) })
	}
	c.makeTrouble(chaosTime(t))
	cancel()
	clients.Wait()
	for _, s := range c.servers {
		until(t, "the server is ready", s.ready)
	}
	time.Sleep(300 * time.Millisecond) // let the watchers see it
	unwatch()
	watchers.Wait()
	c.judge()
}

// invite gives the workspace three admins.
func (c *chaos) invite() {
	s := c.servers[0].server
	c.members[0] = s.signUp(c.t, "acme")
	for i, name := range []string{"bob", "cay"} {
		address := name + "@acme.example"
		c.members[0].want(c.t, http.StatusCreated, "POST", "/api/members", fmt.Sprintf(`{"email": %q, "full_name": %q, "role": "admin"}`, address, name))
		var admitted struct{ Token string }
		anybody := (&client{}).at(s)
		decode(c.t, anybody.want(c.t, http.StatusCreated, "POST", "/api/invitations/accept",
			fmt.Sprintf(`{"workspace": "acme", "email": %q, "code": %q, "password": %q}`, address, s.mailed(c.t, address), plain+name)).body, &admitted)
		c.members[i+1] = &client{token: admitted.Token}
	}
	for i, m := range c.members {
		var me struct{ Member struct{ ID string } }
		decode(c.t, m.at(s).want(c.t, http.StatusOK, "GET", "/api/me", "").body, &me)
		c.ids[i] = me.Member.ID
	}
}

// ask sends a request to one of the servers. known tells whether an answer says what became of it, and none whether it says that nothing was done.
func (c *chaos) ask(m *client, method, path, body string, ifMatch int) (r reply, known, none bool) {
	s := c.servers[rand.IntN(2)]
	own := &client{url: "http://" + s.listen, token: m.token, http: patientClient}
	if ifMatch > 0 {
		own.ifMatch = strconv.Itoa(ifMatch)
	}
	r, err := own.do(method, path, body)
	if err != nil {
		return r, method == "GET", method == "GET"
	}
	if r.status < 500 && r.status != http.StatusTooManyRequests {
		behind := r.header.Get("Kluis-Behind") != "" // it says itself that it is not the newest: while nothing can be written, that is promised
		if behind {
			c.count("an answer that says that it is behind")
		}
		return r, true, behind
	}
	var problem struct{ Code string }
	_ = json.Unmarshal(r.body, &problem) // without a code it is none of ours
	c.count(fmt.Sprint(r.status, " ", problem.Code))
	time.Sleep(20 * time.Millisecond)
	if (problem.Code == "outcome_unknown" || r.status == http.StatusInternalServerError) && method != "GET" {
		return r, false, false
	}
	return r, true, true
}

func (c *chaos) count(answer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[answer]++
}

var patientClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: 40 * time.Second}

// writeTasks has four clients change and read one task, and then the next: after some time, or when an answer was lost.
func (c *chaos) writeTasks(group int) {
	for c.end.Err() == nil {
		r, known, none := c.ask(c.members[group%3], "POST", "/api/tasks", fmt.Sprintf(`{"title": "shared %d"}`, c.names.Add(1)), 0)
		var task struct{ ID string }
		if none || !known || r.status != http.StatusCreated || json.Unmarshal(r.body, &task) != nil {
			continue // what became of it is nobody's concern
		}
		until, enough := context.WithTimeout(c.end, 4*time.Second)
		var four sync.WaitGroup
		for i := range 4 {
			four.Go(func() {
				for until.Err() == nil {
					if !c.oneTaskOp(group*4+i, c.members[i%3], task.ID) {
						enough()
					}
				}
			})
		}
		four.Wait()
		enough()
	}
}

func (c *chaos) oneTaskOp(client int, m *client, id string) (known bool) {
	op := taskOp{task: id}
	method, body := "GET", ""
	if rand.IntN(3) > 0 {
		op.write = fmt.Sprint("title ", c.names.Add(1))
		method, body = "PATCH", fmt.Sprintf(`{"title": %q}`, op.write)
		if rand.IntN(2) == 0 {
			op.ifMatch = 1 + rand.IntN(30)
		}
	}
	return c.tasks.record(client, op, func() (any, bool, bool) {
		r, known, none := c.ask(m, method, "/api/tasks/"+id, body, op.ifMatch)
		if none || !known {
			return taskAnswer{}, known, none
		}
		if r.status != http.StatusOK && (r.status != http.StatusPreconditionFailed || op.ifMatch == 0) {
			c.t.Errorf("%s of a task: %d %s", method, r.status, r.body)
			return nil, true, true
		}
		answer := taskAnswer{status: r.status}
		if r.status == http.StatusOK {
			var task struct{ Title string }
			_ = json.Unmarshal(r.body, &task) // without a title the judge sees it
			answer.title = task.Title
			answer.version, _ = strconv.Atoi(strings.Trim(r.header.Get("ETag"), `"`))
		}
		return answer, true, false
	})
}

// createTasks notes which were acknowledged: each must be in the log, once.
func (c *chaos) createTasks(i int) {
	for j := 0; c.end.Err() == nil; j++ {
		title := fmt.Sprintf("made %d %d", i, j)
		r, known, none := c.ask(c.members[i%3], "POST", "/api/tasks", fmt.Sprintf(`{"title": %q}`, title), 0)
		if known && !none {
			c.created.note(title, r, nil)
		}
	}
}

// changeRoles has one of three members make admins, and members, of the three.
func (c *chaos) changeRoles(actor int) {
	for c.end.Err() == nil {
		op := roleOp{actor: actor, target: rand.IntN(3), admin: rand.IntN(3) > 0, read: rand.IntN(3) == 0}
		c.roster.record(actor, op, func() (any, bool, bool) {
			if op.read {
				return c.readRoles(actor)
			}
			role := "member"
			if op.admin {
				role = "admin"
			}
			r, known, none := c.ask(c.members[actor], "PATCH", "/api/members/"+c.ids[op.target], fmt.Sprintf(`{"role": %q}`, role), 0)
			return roleAnswer{status: r.status * b2i(known)}, known, none
		})
		time.Sleep(50 * time.Millisecond)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *chaos) readRoles(actor int) (any, bool, bool) {
	r, known, none := c.ask(c.members[actor], "GET", "/api/members", "", 0)
	if none || !known {
		return roleAnswer{}, known, none
	}
	var list struct {
		Items []struct{ ID, Role string }
	}
	if err := json.Unmarshal(r.body, &list); err != nil || r.status != http.StatusOK {
		c.t.Errorf("the members: %d %s", r.status, r.body)
		return nil, true, true
	}
	answer := roleAnswer{status: r.status}
	for _, item := range list.Items {
		for i, id := range c.ids {
			if item.ID == id {
				answer.roles[i] = item.Role == "admin"
			}
		}
	}
	return answer, true, false
}

// watch notes when a server was not ready.
func (c *chaos) watch(ctx context.Context, s *seat) {
	for ctx.Err() == nil {
		s.revive(c)
		asked := time.Since(c.begun)
		ready := s.ready()
		s.mu.Lock()
		switch n := len(s.unripe); {
		case !ready && (n == 0 || s.unripe[n-1].to != 0):
			s.unripe = append(s.unripe, span{from: asked})
		case ready && n > 0 && s.unripe[n-1].to == 0:
			s.unripe[n-1].to = time.Since(c.begun)
		}
		s.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
	}
}

// makeTrouble makes each kind of trouble once, and again until the time is over, in a new order each time.
func (c *chaos) makeTrouble(atLeast time.Duration) {
	kinds := []struct {
		name string
		do   func()
	}{
		{"kill -9 of a server, and another clock", c.killServer},
		{"SIGSTOP of a server", c.stopServer},
		{"a quick restart of Postgres", func() { c.signalPostgres(syscall.SIGINT) }},
		{"kill -9 of Postgres", func() { c.signalPostgres(syscall.SIGKILL) }},
		{"terminated backends", c.terminateBackends},
		{"a read-only window", c.readOnly},
	}
	for begun := time.Now(); len(c.faults) == 0 || time.Since(begun) < atLeast; {
		for _, i := range rand.Perm(len(kinds)) {
			time.Sleep(time.Second + rand.N(2*time.Second))
			from := time.Since(c.begun)
			kinds[i].do()
			c.faults = append(c.faults, fault{span{from, time.Since(c.begun)}, kinds[i].name})
		}
	}
}

func (c *chaos) killServer() {
	s := c.servers[rand.IntN(2)]
	s.mu.Lock() // or it would be revived
	defer s.mu.Unlock()
	s.server.kill()
	time.Sleep(rand.N(500 * time.Millisecond))
	h := *c.home
	if rand.IntN(2) == 0 {
		h.program = c.wrong
	}
	s.server = h.startAt(c.t, s.listen)
}

func (c *chaos) stopServer() {
	seat := c.servers[rand.IntN(2)]
	seat.mu.Lock()
	s := seat.server
	seat.mu.Unlock()
	s.signal(syscall.SIGSTOP)
	time.Sleep(8 * time.Second)
	s.signal(syscall.SIGCONT)
}

func (c *chaos) signalPostgres(sig syscall.Signal) {
	pid := c.postgres()
	if pid == 0 {
		return
	}
	_ = syscall.Kill(pid, sig) // gone already: somebody else's trouble
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now := c.postgres(); now != 0 && now != pid {
			return
		}
	}
}

// postgres is the process id of the postmaster; 0 while there is none.
func (c *chaos) postgres() int {
	text, err := os.ReadFile(c.cluster("postmaster.pid"))
	if err != nil {
		return 0
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || !strings.HasPrefix(lines[7], "ready") && !strings.HasPrefix(lines[7], "standby") {
		return 0
	}
	pid, _ := strconv.Atoi(lines[0])
	return pid
}

func (c *chaos) cluster(name string) string {
	return filepath.Join(c.home.data, "postgres", "cluster", name)
}

// asSuperuser runs one statement, if Postgres can be reached.
func (c *chaos) asSuperuser(sql string) error {
	if c.postgres() == 0 {
		return fmt.Errorf("no Postgres")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.home.superuserURL(c.t))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func (c *chaos) terminateBackends() {
	_ = c.asSuperuser(`select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`)
}

// readOnly makes a standby of Postgres, for some seconds, and then a primary again.
func (c *chaos) readOnly() {
	if err := os.WriteFile(c.cluster("standby.signal"), nil, 0o644); err != nil {
		c.t.Error(err)
		return
	}
	c.signalPostgres(syscall.SIGINT)
	time.Sleep(3 * time.Second)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := c.asSuperuser(`select pg_promote(true, 10)`)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			c.t.Errorf("promote Postgres: %v", err)
			return
		}
	}
}

func (c *chaos) judge() {
	t := c.t
	for _, f := range c.faults {
		t.Logf("%6.1f s to %6.1f s: %s", f.from.Seconds(), f.to.Seconds(), f.name)
	}
	t.Logf("answers that say nothing of what was done: %v", c.codes)
	for code := range c.codes {
		if !strings.HasPrefix(code, "503 ") && !strings.HasPrefix(code, "an answer") {
			t.Errorf("%d times: %s, want 503 and no other", c.codes[code], code)
		}
	}
	for i, s := range c.servers {
		for _, u := range s.unripe {
			if !c.explained(u) {
				t.Errorf("server %d was not ready from %.1f s to %.1f s", i, u.from.Seconds(), u.to.Seconds())
			}
		}
	}
	c.created.check(t, c.home.titles(t, "acme"))
	if out := c.home.must(t, "rebuild", "--check", "acme"); !strings.Contains(out, "every read model follows from the log") {
		t.Error(out)
	}
	c.tasks.judge(t, "tasks", taskModel)
	c.roster.judge(t, "the roster", rosterModel)
	for i, s := range c.servers {
		if status := s.server.stop(t); status != success {
			t.Errorf("SIGTERM of server %d: status %d", i, status)
		}
	}
}

// late is how long a process may stay unready after a fault.
const late = 5 * time.Second

// explained tells whether a server was unready during faults, or shortly after one.
func (c *chaos) explained(u span) bool {
	for _, f := range c.faults { // they are in order, so each goes on where those before leave off
		if f.from <= u.from+100*time.Millisecond && u.from < f.to+late {
			u.from = max(u.from, f.to+late)
		}
	}
	return u.to <= u.from
}
