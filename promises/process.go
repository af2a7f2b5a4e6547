package promises

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/cmd/app"
	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/http"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/delivery"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/jobs"
	"github.com/kluis-eu/kluis/migrations"
	"github.com/kluis-eu/kluis/projections"
)

// The tests of this folder ask whole processes, several on one database where the promise says
// so: everything is as in `kluis serve`, but for cheap passwords. They know nothing that a client does not,
// except where they look into the database at what a request left there.

// site is a database and the processes on it, which share a keyring.
type site struct {
	url     string
	keyFile string
	kept    *checkpoint.Kept
	keptIn  string            // the folder of kept
	blobs   string            // the folder of the bytes of attachments
	outside *delivery.Outside // the way to receivers; nil: the public internet alone

	witnesses []*checkpoint.Witness // that cosign checkpoints
	wanted    int                   // how many of them; 0: all

	// window is that of the security stream. Where it is 0 nobody counts what is refused and who reads the log: the log has what a
	// test does, and no more.
	window time.Duration
	grace  time.Duration // of the erasure of a workspace; 0: as by default

	mu        sync.Mutex
	processes []*process
	secrets   []string // what no log may hold
}

// process is one whole process.
type process struct {
	site        *site
	url         string // of HTTP
	db          *pg.DB
	program     *app.Program
	store       *eventstore.Store
	projections *projections.Projections
	commands    *commands.Commands
	jobs        *jobs.Jobs
	keys        *keyring.Keyring
	log         *logBuffer
	background  bool
	expected    string // an error that its log may hold; empty: none
	stop        func()
}

// newSite makes a migrated database without processes.
func newSite(t testing.TB) *site {
	t.Helper()
	url := pgtest.Clone(t, "promises", func(url string) error {
		db, err := pg.Open(context.Background(), url, 2)
		if err != nil {
			return err
		}
		defer db.Close()
		directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
		if err != nil {
			return err
		}
		if err := directory.Migrate(context.Background(), nil); err != nil {
			return err
		}
		return mail.Migrate(context.Background(), db)
	})
	if os.Getenv("KLUIS_TEST_BOUNCER") != "" { // everything through PgBouncer in transaction mode
		url = pgtest.Bouncer(t, url, 20)
	}
	s := &site{url: url, keyFile: filepath.Join(t.TempDir(), "keys"), keptIn: t.TempDir(), blobs: t.TempDir()}
	s.kept = &checkpoint.Kept{Stores: []blob.Store{must(blob.Open(context.Background(), "file://"+s.keptIn))}}
	if err := keyring.Create(s.keyFile); err != nil {
		t.Fatal(err)
	}
	return s
}

// newProcesses makes a site with n processes, all with the background or none.
func newProcesses(t *testing.T, n int, background bool) []*process {
	t.Helper()
	s := newSite(t)
	for range n {
		s.newProcess(t, background)
	}
	return s.processes
}

// patient is a bound on catching up that tests do not reach.
const patient = 30 * time.Second

func (s *site) newProcess(t testing.TB, background bool) *process {
	t.Helper()
	p := s.openProcess(t, patient)
	p.start(t, background)
	return p
}

// openProcess makes a process that does not run yet. Its reads catch up for as long as bound at most.
func (s *site) openProcess(t testing.TB, bound time.Duration) *process {
	t.Helper()
	p := &process{site: s, log: &logBuffer{}}
	p.open(t, slog.New(slog.NewJSONHandler(p.log, nil)), bound)
	return p
}

// start has a process serve until the test ends.
func (p *process) start(t testing.TB, background bool) {
	t.Helper()
	p.background = background
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.program.Run(ctx, listener, background); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	p.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		p.program.Close()
		p.checkLog(t)
	})
	t.Cleanup(p.stop)
	p.site.mu.Lock()
	defer p.site.mu.Unlock()
	p.site.processes = append(p.site.processes, p)
}

// processConns are the connections of a process.
const processConns = 12

// open makes the program, with cheap passwords and without limits.
func (p *process) open(t testing.TB, log *slog.Logger, bound time.Duration) {
	t.Helper()
	p.db = must(pg.Open(context.Background(), p.site.url, processConns))
	p.keys = must(keyring.Load(p.site.keyFile, ""))
	p.program = must(must(app.On(p.db, log, bound)).Program(context.Background(), app.Given{
		Commands: commands.Needs{Keys: p.keys, Blobs: must(blob.Open(context.Background(), p.site.blobURL())), Hasher: must(password.NewHasher(password.Floor, 2, 64)), Region: "be", Kept: p.site.kept,
			Operator: "Example BV, Brussels", Regions: []commands.Region{{Name: "be", Country: "BE"}}, Outside: p.site.outside, ErasureGrace: p.site.grace, SecurityWindow: p.site.window,
			Witnesses: p.site.witnesses, CosignaturesWanted: p.site.wanted},
		Sender: must(mail.NewSender("", t.TempDir(), "Kluis <kluis@example.org>", log)),
		HTTP:   http.Options{Ready: p.db.Ready, Version: "test"},
	}))
	p.store, p.projections, p.commands, p.jobs = p.program.Store, p.program.Projections, p.program.Commands, p.program.Jobs
}

// must is for what cannot fail in a test that is worth anything.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// checkLog looks for what must never be in a log: failures that we do not know, and secrets.
func (p *process) checkLog(t testing.TB) {
	t.Helper()
	text := p.log.String()
	for line := range strings.Lines(text) {
		if strings.Contains(line, `"level":"ERROR"`) && (p.expected == "" || !strings.Contains(line, p.expected)) {
			t.Errorf("logged: %s", line)
		}
	}
	p.site.mu.Lock()
	defer p.site.mu.Unlock()
	for _, secret := range p.site.secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// blobURL is where the bytes of attachments are: in the folder, unless a test has another place for them.
func (s *site) blobURL() string {
	if strings.HasPrefix(s.blobs, "s3:") {
		return s.blobs
	}
	return "file://" + s.blobs
}

func (s *site) secret(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, texts...)
}

// logBuffer is a log that many write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if os.Getenv("KLUIS_TEST_LOG") != "" {
		_, _ = os.Stderr.Write(line)
	}
	return b.b.Write(line)
}

// forget takes the lines with a text out: what a test did on purpose.
func (b *logBuffer) forget(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var kept bytes.Buffer
	for line := range bytes.Lines(b.b.Bytes()) {
		if !bytes.Contains(line, []byte(text)) {
			kept.Write(line)
		}
	}
	b.b = kept
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
