package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/mail/mailtest"
	"github.com/kluis-eu/kluis/internal/pgserver"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/toolbox"
)

// binary is the program itself, built once, beside the test program: `go test` deletes both.
var binary string

func TestMain(m *testing.M) {
	self, err := os.Executable()
	if err == nil {
		binary = filepath.Join(filepath.Dir(self), "kluis.built")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, ".") // links in half the time
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build kluis:", err)
		os.Exit(1)
	}
	pgtest.Main(m)
}

// home is where a kluis keeps its things, and its settings.
type home struct {
	data    string
	env     []string
	program string // another build than the one that is tested
	super   string // the URL of the superuser, where that is not the tests' own server's
}

// with is the same home for another build.
func (h *home) with(program string) *home { return &home{data: h.data, env: h.env, program: program} }

// unlimited lets tests do as much as they like, and cheap lets them make many accounts: by default a password costs a sixth of a second.
const (
	unlimited = "KLUIS_LIMITS=signup_ip=off,signup_domain=off,login_ip=off,login_account=off,api_member=off"
	cheap     = "KLUIS_ARGON2=m=19456,t=2,p=1"
)

// patience is how long a test waits for what must come: on a machine with much else to do that takes as long as it takes, so whoever waits as
// long hangs.
const patience = 3 * time.Minute

// privateHome has its own Postgres, which is stopped when the test ends.
func privateHome(t *testing.T) *home {
	t.Helper()
	dir, err := os.MkdirTemp("", "kluis-home-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // root's Postgres is another user
		t.Fatal(err)
	}
	h := &home{data: filepath.Join(dir, "data"), env: []string{unlimited, cheap}}
	t.Cleanup(func() { // its last user stops it
		if _, err := os.Stat(filepath.Join(h.data, "postgres", "cluster")); err == nil {
			if status, _, stderr := h.run("migrate", "status"); status != success {
				t.Errorf("stop the private Postgres: %d, %s", status, stderr)
			}
		}
		os.RemoveAll(dir)
	})
	return h
}

// sharedHome uses a database of the tests' server. Several of one database share their keys.
func sharedHome(t *testing.T, url string) *home {
	t.Helper()
	h := &home{data: filepath.Join(t.TempDir(), "data")}
	if err := os.MkdirAll(h.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := keyring.Create(filepath.Join(h.data, "keys")); err != nil {
		t.Fatal(err)
	}
	h.env = []string{unlimited, cheap, "KLUIS_DATABASE_URL=" + url}
	return h
}

func (h *home) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cmp.Or(h.program, binary), args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "KLUIS_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(append(cmd.Env, "GOGC=400", "KLUIS_DATA="+h.data), h.env...) // the collector as in pgtest: most processes live for a moment
	return cmd
}

// run runs a command to its end.
func (h *home) run(args ...string) (status int, stdout, stderr string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := h.command(ctx, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, out.String(), problems.String() + err.Error()
	}
	return cmd.ProcessState.ExitCode(), out.String(), problems.String()
}

// must runs a command that succeeds, and gives what it printed.
func (h *home) must(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := h.run(args...)
	if status != success {
		t.Fatalf("kluis %s: status %d: %s%s", strings.Join(args, " "), status, stdout, stderr)
	}
	return stdout
}

// hear runs a command to its end and passes on each line that it says, on either output, as it says it. It gives all of them, and how it ended.
func (h *home) hear(t *testing.T, args []string, each func(p *os.Process, line string)) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := h.command(ctx, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		each(cmd.Process, lines.Text())
	}
	return all.String(), cmd.Wait()
}

// killAt runs a command and kills it when it says something.
func (h *home) killAt(t *testing.T, step string, args ...string) {
	t.Helper()
	said, _ := h.hear(t, args, func(p *os.Process, line string) { // it is killed, or ends at the same moment
		if strings.HasPrefix(line, step) {
			_ = p.Kill()
		}
	})
	if !strings.Contains("\n"+said, "\n"+step) {
		t.Errorf("it never said %q:\n%s", step, said)
	}
}

// server is a `kluis serve` that runs.
type server struct {
	*home
	cmd   *exec.Cmd
	url   string
	log   *safeBuffer
	ended chan struct{} // closed when the process is gone
}

// serve starts a server and waits until it is ready.
func (h *home) serve(t *testing.T, flags ...string) *server {
	t.Helper()
	s := h.start(t, flags...)
	s.ready(t)
	return s
}

func (h *home) start(t *testing.T, flags ...string) *server {
	t.Helper()
	return h.startAt(t, toolbox.FreeAddress(t), flags...)
}

func (h *home) startAt(t *testing.T, listen string, flags ...string) *server {
	t.Helper()
	s := &server{home: h, url: "http://" + listen, log: &safeBuffer{}, ended: make(chan struct{})}
	s.cmd = h.command(context.Background(), append([]string{"serve", "--listen", listen}, flags...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // the state is in the command
		close(s.ended)
	}()
	t.Cleanup(func() { s.kill(); s.saysFailed(t) })
	return s
}

// saysFailed shows the log of a server whose test failed.
func (s *server) saysFailed(t *testing.T) {
	if t.Failed() {
		lines := strings.Split(s.log.String(), "\n")
		t.Logf("the log of %s ends with:\n%s", s.url, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}

func (s *server) ready(t *testing.T) {
	t.Helper()
	until(t, "the server is ready", func() bool {
		select {
		case <-s.ended:
			t.Fatalf("it ended with %d:\n%s", s.cmd.ProcessState.ExitCode(), s.log)
		default:
		}
		response, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

// kill is kill -9.
func (s *server) kill() {
	s.signal(syscall.SIGKILL)
	<-s.ended
}

// stop is SIGTERM; it gives the exit status.
func (s *server) stop(t *testing.T) int {
	t.Helper()
	s.signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatalf("%s after SIGTERM it runs still:\n%s", patience, s.log)
	}
	return s.cmd.ProcessState.ExitCode()
}

// client is somebody who talks to a server.
type client struct {
	url     string
	token   string
	ifMatch string // a version
	http    *http.Client
}

// reply is an answer, its body read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) position(t testing.TB) int64 {
	t.Helper()
	n, err := strconv.ParseInt(r.header.Get("Kluis-Position"), 10, 64)
	if err != nil {
		t.Fatalf("status %d, Kluis-Position: %v: %s", r.status, err, r.body)
	}
	return n
}

func (c *client) do(method, path, body string) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.ifMatch != "" {
		request.Header.Set("If-Match", `"`+c.ifMatch+`"`)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, content}, err
}

// want does what has to succeed with a status.
func (c *client) want(t testing.TB, status int, method, path, body string) reply {
	t.Helper()
	r, err := c.do(method, path, body)
	if err != nil || r.status != status {
		t.Fatalf("%s %s: %d %s %v, want %d", method, path, r.status, r.body, err, status)
	}
	return r
}

func (c *client) task(t testing.TB, title string) (id string) {
	t.Helper()
	var task struct{ ID string }
	decode(t, c.want(t, http.StatusCreated, "POST", "/api/tasks", fmt.Sprintf(`{"title": %q}`, title)).body, &task)
	return task.ID
}

func decode(t testing.TB, body []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}

// at is the same person at another server, on connections of their own.
func (c *client) at(s *server) *client {
	return &client{url: s.url, token: c.token, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
}

const plain = "correct horse 77 battery"

// signUp makes a workspace, by way of the mail that the server writes, and gives its admin.
func (s *server) signUp(t *testing.T, slug string) *client {
	t.Helper()
	r := s.verify(t, slug)
	if r.status != http.StatusCreated {
		t.Fatalf("verify: %d %s", r.status, r.body)
	}
	var admitted struct{ Token string }
	decode(t, r.body, &admitted)
	c := (&client{}).at(s)
	c.token = admitted.Token
	return c
}

// verify signs up, and gives the answer to the code.
func (s *server) verify(t *testing.T, slug string) reply {
	t.Helper()
	c := (&client{}).at(s)
	address := "ann@" + slug + ".example"
	var signup struct {
		SignupID string `json:"signup_id"`
	}
	decode(t, c.want(t, http.StatusAccepted, "POST", "/api/signup", fmt.Sprintf(
		`{"workspace": {"slug": %q, "name": "Works of %s"}, "email": %q, "full_name": "Ann Example", "password": %q}`, slug, slug, address, plain)).body, &signup)
	r, err := c.do("POST", "/api/signup/verify", fmt.Sprintf(`{"signup_id": %q, "code": %q}`, signup.SignupID, s.mailed(t, address)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mailed waits for a mail and gives the code in it.
func (s *server) mailed(t *testing.T, address string) (code string) {
	t.Helper()
	until(t, "a mail to "+address, func() bool {
		files, err := filepath.Glob(filepath.Join(s.data, "mail", "*.eml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if m, err := mailtest.ReadFile(file); err == nil && m.Header.Get("To") == "<"+address+">" {
				code = m.Code()
			}
		}
		return code != ""
	})
	return code
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// safeBuffer is a log that many write and read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// superuserURL is how the test gets into a home's database as the superuser.
func (h *home) superuserURL(t *testing.T) string {
	t.Helper()
	if h.super != "" {
		return h.super
	}
	for _, e := range h.env {
		if url, shared := strings.CutPrefix(e, "KLUIS_DATABASE_URL="); shared {
			return pgtest.Superuser(t, url)
		}
	}
	folder := filepath.Join(h.data, "postgres")
	passwords, err := os.ReadFile(filepath.Join(folder, "passwords"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(passwords), "\n")
	fields := strings.Split(line, ":")
	state := h.postmaster(t)
	url, err := pgserver.WithDatabase("postgres://"+fields[3]+":"+fields[4]+"@/x?port=5432&host="+state[4], "kluis")
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// postmaster is what Postgres says of itself: line 1 is its process id, line 5 the folder of its socket.
func (h *home) postmaster(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.data, "postgres", "cluster", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// superuser connects as such.
func (h *home) superuser(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.superuserURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// schema is the one of a workspace.
func schema(t *testing.T, admin *pgx.Conn, slug string) string {
	t.Helper()
	var id uuid.UUID
	if err := admin.QueryRow(t.Context(), `select id from kluis.workspace where slug = $1`, slug).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return "ws_" + strings.ReplaceAll(id.String(), "-", "")
}

// owner is the role that owns everything in the database: no other database of the cluster has the same.
func owner(t *testing.T, admin *pgx.Conn) (role string) {
	t.Helper()
	if err := admin.QueryRow(t.Context(), `select pg_get_userbyid(relowner) from pg_class where oid = 'kluis.workspace'::regclass`).Scan(&role); err != nil {
		t.Fatal(err)
	}
	return role
}

// record is a line of the log.
type record struct {
	Position int64
	Stream   string
	Version  int
	Type     string
	Data     struct{ Title string }
}

// log reads a workspace's log with `kluis replay` and checks what always holds: count = max(position) = head, positions
// and versions without gaps. It gives how often each title was created.
func (h *home) titles(t *testing.T, slug string) map[string]int {
	t.Helper()
	titles, versions := map[string]int{}, map[string]int{}
	var count int64
	lines := bufio.NewScanner(strings.NewReader(h.must(t, "replay", slug)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		decode(t, lines.Bytes(), &r)
		count++
		versions[r.Stream]++
		if r.Position != count || r.Version != versions[r.Stream] {
			t.Fatalf("line %d has position %d, version %d of %s, want version %d", count, r.Position, r.Version, r.Stream, versions[r.Stream])
		}
		if r.Type == "task.created" {
			titles[r.Data.Title]++
		}
	}
	admin := h.superuser(t)
	var events, last, head int64
	s := schema(t, admin, slug)
	if err := admin.QueryRow(t.Context(), `select (select count(*) from `+s+`.event), (select max(position) from `+s+`.event), (select position from `+s+`.head)`).
		Scan(&events, &last, &head); err != nil {
		t.Fatal(err)
	}
	if events != last || last != head || count != head {
		t.Errorf("%d events, the last position %d, head %d, %d replayed", events, last, head, count)
	}
	return titles
}
