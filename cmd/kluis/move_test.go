package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// writing creates tasks without a pause, through several servers, and counts the acknowledged ones.
type writing struct {
	mu      sync.Mutex
	titles  map[string]bool
	longest time.Duration // between two acknowledged tasks
	end     func()
}

func write(t *testing.T, clients ...*client) *writing {
	t.Helper()
	w := &writing{titles: map[string]bool{}}
	stopped := make(chan struct{})
	var working sync.WaitGroup
	var failed atomic.Bool
	run := uuid.NewString()
	for i, c := range clients {
		working.Go(func() {
			last := time.Now()
			for n := 0; ; n++ {
				select {
				case <-stopped:
					return
				case <-time.After(20 * time.Millisecond):
				}
				title := fmt.Sprintf("task %d of %d, %s", n, i, run)
				r, err := c.do("POST", "/api/tasks", fmt.Sprintf(`{"title": %q}`, title))
				if err == nil && r.status == http.StatusCreated {
					w.mu.Lock()
					w.titles[title] = true
					w.longest = max(w.longest, time.Since(last))
					w.mu.Unlock()
					last = time.Now()
				} else if (err != nil || r.status != http.StatusServiceUnavailable) && failed.CompareAndSwap(false, true) {
					t.Errorf("while it moved: %d %s %v", r.status, r.body, err)
				}
			}
		})
	}
	w.end = sync.OnceFunc(func() { close(stopped); working.Wait() })
	t.Cleanup(w.end)
	return w
}

// check compares the acknowledged tasks with the log.
func (w *writing) check(t *testing.T, log string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	created := map[string]int{}
	last := int64(0)
	for line := range strings.Lines(log) {
		var r record
		decode(t, []byte(line), &r)
		if r.Position != last+1 {
			t.Fatalf("position %d behind %d", r.Position, last)
		}
		last = r.Position
		if r.Type == "task.created" {
			created[r.Data.Title]++
		}
	}
	for title := range w.titles {
		if created[title] != 1 {
			t.Errorf("%q was acknowledged, and is %d times in the log", title, created[title])
		}
	}
	if len(w.titles) == 0 {
		t.Error("nothing was written")
	}
}

// form is the body that brings a file, and what kind of body that is.
func form(t *testing.T, content string) (body *bytes.Buffer, kind string) {
	t.Helper()
	body = &bytes.Buffer{}
	form := multipart.NewWriter(body)
	part, err := form.CreateFormFile("file", "plan.txt")
	if err == nil {
		_, err = part.Write([]byte(content))
	}
	if err != nil || form.Close() != nil {
		t.Fatal(err)
	}
	return body, form.FormDataContentType()
}

// attach puts a file on a new task, and gives its path.
func (c *client) attach(t *testing.T, content string) (path string) {
	t.Helper()
	body, kind := form(t, content)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/api/tasks/"+c.task(t, "with a file")+"/attachments", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	request.Header.Set("Authorization", "Bearer "+c.token)
	answer, err := c.http.Do(request)
	if err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatalf("attach: %v, %v", answer, err)
	}
	defer answer.Body.Close()
	var added struct{ ID string }
	text := new(bytes.Buffer)
	if _, err := text.ReadFrom(answer.Body); err != nil {
		t.Fatal(err)
	}
	decode(t, text.Bytes(), &added)
	return "/api/attachments/" + added.ID + "/content"
}

// isNowhere checks that a region has nothing of a workspace, apart from the home's list and the ledger of erasures.
func (c *cells) isNowhere(t *testing.T, region, id string) {
	t.Helper()
	for _, what := range c.left(t, region, id) {
		t.Errorf("left in %s: %s", region, what)
	}
}

// left lists what a region has of a workspace.
func (c *cells) left(t *testing.T, region, id string) (left []string) {
	t.Helper()
	conn := c.admin(t, region)
	plain := strings.ReplaceAll(id, "-", "")
	if n := rowCount(t, conn, `select ((select count(*) from pg_namespace where nspname like '%' || $1 || '%') + (select count(*) from pg_roles where rolname like '%' || $1 || '%')
		+ (select count(*) from kluis.workspace where id = $2::uuid))::int`, plain, id); n != 0 {
		left = append(left, fmt.Sprint(n, " schemas, roles, or lines of the directory"))
	}
	rows, err := conn.Query(t.Context(), `select attrelid::regclass::text from pg_attribute a join pg_class c on c.oid = attrelid where attname = 'workspace_id' and relnamespace = 'kluis'::regnamespace and relkind = 'r'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 2 {
		t.Fatalf("tables with rows of workspaces: %v, %v", tables, err)
	}
	for _, table := range tables {
		if n := rowCount(t, conn, `select count(*)::int from `+table+` where workspace_id = $1::uuid`, id); n != 0 {
			left = append(left, fmt.Sprint(n, " rows of ", table))
		}
	}
	_ = filepath.WalkDir(c.region[region].blobs, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, id) && !strings.Contains(path, "/erasures/") {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// whole checks that a workspace in a region is complete and works.
func (c *cells) whole(t *testing.T, slug, region string) {
	t.Helper()
	if said := c.must(t, "verify", slug); !strings.Contains(said, "whole and in order") {
		t.Errorf("verify: %s", said)
	}
	if said := c.must(t, "rebuild", "--check", slug); !strings.Contains(said, "every read model follows from the log") {
		t.Errorf("rebuild --check: %s", said)
	}
	if list := c.must(t, "workspace", "list", "--region", region); !strings.Contains(list, slug) {
		t.Errorf("it is not in %s:\n%s", region, list)
	}
}

func (c *client) me(t *testing.T) (id, region string) {
	t.Helper()
	var w struct{ ID, Region string }
	decode(t, c.want(t, http.StatusOK, "GET", "/api/workspace", "").body, &w)
	return w.ID, w.Region
}

// A workspace moves there and back while it is in use, through two servers that both knew its old place. People stay logged in, every acknowledged change is once in the
// log, files open, and nothing is left behind.
func TestMove(t *testing.T) {
	t.Parallel()
	c := newCells(t)
	first, second := c.serve(t), c.serve(t)
	ann := first.signUp(t, "acme")
	other := first.signUpIn(t, "other", "de")
	id, _ := ann.me(t)
	file := ann.attach(t, "a plan")
	signed := ann.want(t, http.StatusOK, "GET", "/api/audit/checkpoint", "").body
	for _, wrong := range []struct {
		args   string
		status int
		says   string
	}{
		{"workspace move acme be", failure, "in be already"}, {"workspace move acme fr", misuse, "no region fr"}, {"workspace move nothing de", failure, "in any region"},
	} {
		if status, _, stderr := c.run(strings.Fields(wrong.args)...); status != wrong.status || !strings.Contains(stderr, wrong.says) {
			t.Errorf("%s: %d, %s", wrong.args, status, stderr)
		}
	}
	c.fails(t, ann, id)
	var bob struct{ ID string }
	decode(t, ann.want(t, http.StatusCreated, "POST", "/api/members", `{"email": "bob@example.org", "full_name": "Bob", "role": "member"}`).body, &bob)
	ann.want(t, http.StatusOK, "POST", "/api/members/"+bob.ID+"/erase", "")
	for _, move := range []struct{ from, to string }{{"be", "de"}, {"de", "be"}} {
		w := write(t, ann.at(first), ann.at(second))
		before := len(w.titles)
		var x struct{ ID, Status string }
		decode(t, ann.at(first).want(t, http.StatusAccepted, "POST", "/api/export", "{}").body, &x)
		said := c.must(t, "workspace", "move", "acme", move.to)
		until(t, "it is written to again", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.titles) > before+10 })
		w.end()
		t.Logf("%sthe longest pause of a writer that asks again at once: %s", said, w.longest)
		for _, s := range []*server{first, second} {
			until(t, "both know where it is", func() bool {
				r, err := ann.at(s).do("GET", "/api/workspace", "")
				return err == nil && r.status == http.StatusOK
			})
			if _, region := ann.at(s).me(t); region != move.to {
				t.Errorf("the workspace says that it is in %s", region)
			}
			if r := ann.at(s).want(t, http.StatusOK, "GET", file, ""); string(r.body) != "a plan" {
				t.Errorf("the file holds %q", r.body)
			}
			(&client{}).at(s).want(t, http.StatusOK, "POST", "/api/login", loginAs("acme"))
		}
		if _, err := c.admin(t, move.to).Exec(t.Context(), `update kluis.queue set leased_until = '-infinity'`); err != nil { // whoever was at it has let go
			t.Fatal(err)
		}
		until(t, "the export that was asked for before is made where it is now", func() bool {
			decode(t, ann.at(first).want(t, http.StatusOK, "GET", "/api/export/"+x.ID, "").body, &x)
			return x.Status == "done"
		})
		ann.at(first).want(t, http.StatusOK, "GET", "/api/export/"+x.ID+"/content", "")
		w.check(t, c.must(t, "replay", "acme"))
		c.whole(t, "acme", move.to)
		c.isNowhere(t, move.from, id)
		if _, err := os.Stat(filepath.Join(c.region[move.to].blobs, "erasures", id+"-"+bob.ID)); err != nil {
			t.Errorf("whom a backup of the region must not bring back: %v", err)
		}
		kept := filepath.Join(t.TempDir(), "checkpoint")
		if err := os.WriteFile(kept, signed, 0o600); err != nil {
			t.Fatal(err)
		}
		c.must(t, "verify", "--checkpoint", kept, "acme") // of before
	}
	other.task(t, "as ever")
	if n := rowCount(t, c.admin(t, "be"), `select count(*)::int from kluis.place where slug = 'acme' and region = 'be'`); n != 1 {
		t.Error("the home's list does not have it")
	}
}

// fails tries moves to a place without room, and two moves at once. The workspace stays where it is, and nothing is left elsewhere.
func (c *cells) fails(t *testing.T, ann *client, id string) {
	t.Helper()
	folder := filepath.Join(c.region["de"].blobs, id)
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // a file, in which is no room for another one
		t.Fatal(err)
	}
	if status, _, stderr := c.run("workspace", "move", "acme", "de"); status != failure || !strings.Contains(stderr, "the workspace stays where it is") {
		t.Errorf("without room for files: %d, %s", status, stderr)
	}
	ann.task(t, "stays")
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	c.isNowhere(t, "de", id)

	said, err := c.hear(t, []string{"workspace", "move", "acme", "de"}, func(p *os.Process, line string) {
		if strings.HasPrefix(line, "copied attachment") {
			_ = p.Signal(syscall.SIGSTOP)
			if status, _, stderr := c.run("workspace", "move", "acme", "de"); status != failure || !strings.Contains(stderr, "already") {
				t.Errorf("a second move at the same time: %d, %s", status, stderr)
			}
			if status, _, stderr := c.run("keys", "rotate"); status != failure || !strings.Contains(stderr, "a workspace is being moved") {
				t.Errorf("keys are rotated at the same time: %d, %s", status, stderr)
			}
			c.region["de"].network.cut()
			_ = p.Signal(syscall.SIGCONT)
		}
	})
	if err == nil {
		t.Errorf("a move to where the network ends succeeded:\n%s", said)
	}
	ann.task(t, "stays, too")
	c.region["de"].network.join(t)
}

// A move that is killed at any of its steps loses nothing, is served by one region or by none, and is finished by the next one.
func TestMoveKilled(t *testing.T) {
	t.Parallel()
	c := newCells(t)
	s := c.serve(t)
	ann := s.signUp(t, "acme")
	id, _ := ann.me(t)
	file := ann.attach(t, "a plan")
	w := write(t, ann.at(s))
	at, to := "be", "de"
	for _, step := range []string{"copied event", "copied tile", "caught up", "verified", "fence", "switch", "moved", "open", "erase"} {
		c.killAt(t, step, "workspace", "move", "acme", to)
		r, err := ann.do("GET", "/api/workspace", "")
		if err != nil || r.status != http.StatusOK && r.status != http.StatusServiceUnavailable {
			t.Errorf("killed at %q: %d %s, %v", step, r.status, r.body, err)
		}
		serving := 0
		for _, region := range []string{"be", "de"} {
			serving += rowCount(t, c.admin(t, region), `select count(*)::int from kluis.workspace w where slug = 'acme' and status = 'active'
				and pg_has_role('kluis', 'ws_' || replace(w.id::text, '-', ''), 'MEMBER')`)
		}
		if serving > 1 {
			t.Errorf("killed at %q, it is served by %d", step, serving)
		}
		said := ""
		until(t, "a move runs to its end", func() bool {
			status, _, stderr := c.run("workspace", "move", "acme", to)
			if status != success && stderr != said {
				said = stderr
				t.Logf("killed at %q, and again: %d, %s", step, status, stderr)
			}
			return status == success
		})
		until(t, "it is served", func() bool {
			r, err := ann.do("GET", file, "")
			return err == nil && r.status == http.StatusOK && string(r.body) == "a plan"
		})
		c.isNowhere(t, at, id)
		at, to = to, at
	}
	w.end()
	w.check(t, c.must(t, "replay", "acme"))
	c.whole(t, "acme", at)
}
