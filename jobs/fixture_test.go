package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/mail/mailtest"
	"github.com/kluis-eu/kluis/internal/password"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/internal/vault"
	"github.com/kluis-eu/kluis/migrations"
	"github.com/kluis-eu/kluis/projections"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// process is the whole program but for http, on a database of its own, or on another's.
type process struct {
	*Jobs
	url     string
	keyFile string
	store   *eventstore.Store
	folder  string // of mails
	log     *buffer
}

func newProcess(t *testing.T) *process {
	t.Helper()
	url := pgtest.Clone(t, "jobs", func(url string) error {
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
	keyFile := filepath.Join(t.TempDir(), "keys")
	if err := keyring.Create(keyFile); err != nil {
		t.Fatal(err)
	}
	return start(t, url, keyFile)
}

func start(t *testing.T, url, keyFile string) *process {
	t.Helper()
	p := &process{url: url, keyFile: keyFile, folder: t.TempDir(), log: &buffer{}}
	log := slog.New(slog.NewJSONHandler(p.log, nil))
	db, err := pg.Open(context.Background(), url, 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	keys, err := keyring.Load(keyFile, "")
	if err != nil {
		t.Fatal(err)
	}
	outbox, err := NewOutbox(db, keys)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := mail.NewSender("", p.folder, "Kluis <kluis@example.org>", log)
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := password.NewHasher(password.Floor, 2, 10)
	if err != nil {
		t.Fatal(err)
	}
	directory, err := tenancy.New(db, migrations.Control, migrations.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	bell := eventstore.NewBell()
	p.store = eventstore.New(db, bell)
	t.Cleanup(p.store.Close)
	views := projections.New(db, p.store, bell, projections.Bound)
	p.Jobs, err = New(Needs{DB: db, Bell: bell, Projections: views, Sender: sender, Keys: keys, Log: log,
		Commands: commands.New(commands.Needs{DB: db, Store: p.store, Projections: views, Tenancy: directory, Keys: keys,
			Vault: vault.New(db, keys), Hasher: hasher, Outbox: outbox, Log: log, Region: "be"})})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs the jobs until the test ends, or stop is called.
func (p *process) run(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

const plain = "correct horse battery staple 9"

// found makes a workspace by way of a sign-up, and gives its admin.
func (p *process) found(t *testing.T, code func(t *testing.T, address string) string) projections.Actor {
	t.Helper()
	slug := "w" + uuid.NewString()[:8]
	address := "ada@" + slug + ".example"
	id, err := p.Commands.SignUp(t.Context(), commands.Signup{Slug: slug, Name: "Works of " + slug, Email: address,
		FullName: "Ada Lovelace", Password: plain, Plan: "free", Region: "be"})
	if err != nil {
		t.Fatal(err)
	}
	admitted, err := p.Commands.VerifySignup(t.Context(), commands.Origin{}, id, code(t, address))
	if err != nil {
		t.Fatal(err)
	}
	actor, err := p.Commands.Authenticate(t.Context(), admitted.Token)
	if err != nil {
		t.Fatal(err)
	}
	return actor
}

func (p *process) invite(t *testing.T, by projections.Actor, address string) uuid.UUID {
	t.Helper()
	done, err := p.Commands.InviteMember(t.Context(), commands.Request{By: by}, commands.Invitation{Email: address, FullName: "Grace Hopper", Role: "member"})
	if err != nil {
		t.Fatal(err)
	}
	return done.State.ID
}

// enqueued opens the mails that wait.
func (p *process) enqueued(t *testing.T, template string) map[string][]mail.Message {
	t.Helper()
	rows, _ := p.DB.Pool().Query(t.Context(), `select args ->> 'sealed' from kluis_jobs.river_job where kind = 'mail'`)
	sealed, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	mails := map[string][]mail.Message{}
	for _, s := range sealed {
		text, err := p.Keys.Open(mailPurpose, s)
		if err != nil {
			t.Fatal(err)
		}
		var m mail.Message
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		if m.Template == template {
			mails[m.To] = append(mails[m.To], m)
		}
	}
	return mails
}

// waitingCode is the code of a sign-up while nobody sends mails.
func (p *process) waitingCode(t *testing.T, address string) string {
	t.Helper()
	mails := p.enqueued(t, "signup_code")[address]
	if len(mails) != 1 {
		t.Fatalf("%d mails to %s", len(mails), address)
	}
	return mails[0].Values["Code"]
}

// mailedCode waits for the mail to an address, and takes the code out of it.
func (p *process) mailedCode(t *testing.T, address string) (code string) {
	t.Helper()
	until(t, "a mail to "+address, func() bool {
		paths, err := filepath.Glob(filepath.Join(p.folder, "*.eml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			m, err := mailtest.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if m.Header.Get("To") == fmt.Sprintf("<%s>", address) {
				code = m.Code()
			}
		}
		return code != ""
	})
	return code
}

// positions are how far a workspace's log, read models and reactions are.
func (p *process) positions(t *testing.T, w pg.Workspace) (head, checkpoint, reaction int64) {
	t.Helper()
	if err := p.DB.Read(t.Context(), w, pg.Exec(`select head.position, checkpoint.position, reaction.position from head, checkpoint, reaction`).
		Scan(&head, &checkpoint, &reaction)); err != nil {
		t.Fatal(err)
	}
	return head, checkpoint, reaction
}

func (p *process) signals(t *testing.T) (n int) {
	t.Helper()
	if err := p.DB.Pool().QueryRow(t.Context(), `select count(*) from kluis.signal`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

// buffer is a log that many write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if testing.Verbose() {
		_, _ = os.Stderr.Write(p)
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
