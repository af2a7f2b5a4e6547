package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/toolbox"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// kluis is the real program, with a database of its own.
type kluis struct {
	t       *testing.T
	program string
	env     []string
	data    string
	url     string
	log     bytes.Buffer
	process *exec.Cmd
}

func serve(t *testing.T) *kluis {
	t.Helper()
	dir := t.TempDir()
	k := &kluis{t: t, program: filepath.Join(dir, "kluis"), data: filepath.Join(dir, "data")}
	if out, err := exec.Command("go", "build", "-o", k.program, "github.com/kluis-eu/kluis/cmd/kluis").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	address := toolbox.FreeAddress(t)
	key := make([]byte, 32)
	rand.Read(key)
	k.url = "http://" + address
	k.env = append(os.Environ(), "KLUIS_LISTEN="+address, "KLUIS_DATABASE_URL="+pgtest.Database(t), "KLUIS_DATA="+k.data,
		"KLUIS_KEYS_INLINE="+base64.URLEncoding.EncodeToString(key), "KLUIS_LOG=warn")
	k.start()
	t.Cleanup(func() {
		k.kill()
		if t.Failed() {
			t.Logf("the server said:\n%.5000s", k.log.String())
		}
	})
	for range 600 {
		response, err := http.Get(k.url + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return k
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the server does not get ready")
	return nil
}

func (k *kluis) start() {
	k.process = exec.Command(k.program, "serve")
	k.process.Env, k.process.Stdout, k.process.Stderr = k.env, &k.log, &k.log
	if err := k.process.Start(); err != nil {
		k.t.Error(err)
	}
}

// kill ends the server as a power cut would.
func (k *kluis) kill() {
	_ = k.process.Process.Kill()
	_ = k.process.Wait()
}

// moments calls at once for each text, at the first line of the demo that has it.
type moments struct {
	mu   sync.Mutex
	out  bytes.Buffer
	when []string
	at   func()
}

func (m *moments) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.when) > 0 && bytes.Contains(p, []byte(m.when[0])) {
		m.when = m.when[1:]
		m.at()
	}
	return m.out.Write(p)
}

// events counts the events of a workspace by type, as its admin, and checks that positions have no gaps.
func events(t *testing.T, url string, w Workspace) map[string]int {
	t.Helper()
	login, err := http.Post(url+"/api/login", "application/json",
		strings.NewReader(fmt.Sprintf(`{"workspace":%q,"email":%q,"password":%q}`, w.Slug, w.Email, w.Password)))
	if err != nil {
		t.Fatal(err)
	}
	defer login.Body.Close()
	var in admitted
	if err := json.NewDecoder(login.Body).Decode(&in); err != nil || in.Token == "" {
		t.Fatal("the printed password does not log in:", login.Status, err)
	}
	r, _ := http.NewRequest(http.MethodGet, url+"/api/audit/replay", nil)
	r.Header.Set("Authorization", "Bearer "+in.Token)
	replay, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer replay.Body.Close()
	count := map[string]int{}
	records := bufio.NewScanner(replay.Body)
	records.Buffer(nil, 1<<20)
	for n := 1; records.Scan(); n++ {
		var record struct {
			Position int
			Type     string
		}
		if err := json.Unmarshal(records.Bytes(), &record); err != nil || record.Position != n {
			t.Fatalf("record %d: %v: %s", n, err, records.Text())
		}
		count[record.Type]++
	}
	return count
}

func TestSampleOnTheRealServer(t *testing.T) {
	t.Parallel()
	k := serve(t)
	var out bytes.Buffer
	s, err := Run(t.Context(), Options{URL: k.url + "/", Mail: filepath.Join(k.data, "mail"), Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if s.Rejected > 0 || s.played() != s.Actions || len(s.Again) > 0 || len(s.Workspaces) != 2 {
		t.Errorf("%+v", s)
	}
	for _, w := range s.Workspaces {
		if count := events(t, k.url, w); count["task.created"] != w.Tasks || count["comment.created"] != w.Comments || count["member.placed"] > 0 ||
			count["member.invited"] != w.Members-1 || count["member.joined"] != w.Members-1 || !w.Checked || w.Minutes == 0 {
			t.Errorf("%s: %v, %+v", w.Org, count, w)
		}
		if !strings.Contains(out.String(), w.Password) {
			t.Errorf("%s: no password in the summary", w.Org)
		}
	}
}

// A server that is killed and started again while people accept, and while an import runs, loses nothing and does nothing twice. When the lease of the killed
// process ends, the import begins again, and repeats the actions that it had played.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	k := serve(t)
	const tasks, people = 700, 4 // the import takes some seconds, and says how far it is once a second
	file := filepath.Join(t.TempDir(), "file.ndjson")
	if err := os.WriteFile(file, []byte(busy(tasks, people)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithTimeout(t.Context(), 8*time.Minute) // a mail that was being written at a kill comes after three
	defer end()
	kills := make(chan struct{}, 10)
	var killer sync.WaitGroup
	killer.Go(func() {
		for range kills {
			k.kill()
			time.Sleep(time.Second) // longer than the client ever pauses, so that it meets a server that is away
			k.start()
		}
	})
	out := &moments{when: []string{"people    50%", "actions "}, at: func() { kills <- struct{}{} }}
	s, err := Run(ctx, Options{URL: k.url, File: file, Mail: filepath.Join(k.data, "mail"), Out: out, Workers: 16})
	close(kills)
	killer.Wait()
	t.Log(out.out.String())
	if err != nil {
		t.Fatal(err)
	}
	if s.played() != 4*tasks || s.Repeated == 0 || s.Rejected > 0 || s.Again["connection lost"] == 0 || len(out.when) > 0 {
		t.Errorf("%+v", s)
	}
	w := s.Workspaces[0]
	count := events(t, k.url, w)
	if count["task.created"] != tasks || count["task.completed"] != tasks || count["comment.created"] != tasks || count["comment.updated"] != tasks ||
		count["member.joined"] != people || w.Tasks != tasks || len(w.Differences) > 0 {
		t.Errorf("%v, %+v", count, w)
	}
}

// busy gives a file in which several people create, comment and complete each task, and edit the comment.
func busy(tasks, people int) string {
	var b strings.Builder
	for i := range tasks {
		own := strings.NewReplacer(`"T"`, fmt.Sprintf(`"T%d"`, i), `"C"`, fmt.Sprintf(`"C%d"`, i), `"p1"`, fmt.Sprintf(`"p%d"`, i%people))
		for _, l := range []string{line(task, `"title":"x"`), line(comment, `"comment":"C","body":"x"`),
			line("comment.edit", `"comment":"C","body":"y"`), line("task.status", `"status":"done"`)} {
			b.WriteString(own.Replace(l) + "\n")
		}
	}
	return b.String()
}
