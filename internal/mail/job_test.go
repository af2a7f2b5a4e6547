package mail

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/kluis-eu/kluis/internal/mail/mailtest"
)

// A seal for tests: unreadable, and it opens again.
func seal(plain []byte) (string, error) {
	return hex.EncodeToString(flip(plain)), nil
}

func unseal(sealed string) ([]byte, error) {
	secret, err := hex.DecodeString(sealed)
	return flip(secret), err
}

func flip(in []byte) []byte {
	out := make([]byte, len(in))
	for i := range in {
		out[i] = in[i] ^ 0xA5
	}
	return out
}

// logged is a buffer that River's goroutines may write to.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A post is a house in which the mail works.
type post struct {
	house
	outbox *Outbox
	smtp   *mailtest.Server
	log    *logged
}

func newPost(t *testing.T) post {
	t.Helper()
	h := newHouse(t)
	return newPostAt(t, h, h.db.Now)
}

// machine is the clock of this machine.
func machine(context.Context) (time.Time, error) { return time.Now(), nil }

// newPostAt is newPost with a database of which now tells the time.
func newPostAt(t *testing.T, h house, now func(context.Context) (time.Time, error)) post {
	t.Helper()
	p := post{house: h, smtp: mailtest.New(t), log: &logged{}}
	if err := Migrate(t.Context(), p.db); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sender, err := NewSender(p.smtp.URL(), "", from, log)
	if err != nil {
		t.Fatal(err)
	}
	config := Config(log)
	config.TestOnly = true
	config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}
	config.Workers = river.NewWorkers()
	if err := NewWorker(sender, unseal, now).Join(config); err != nil {
		t.Fatal(err)
	}
	client, err := river.NewClient(riverpgxv5.New(p.db.Pool()), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := client.StopAndCancel(ctx); err != nil {
			t.Error(err)
		}
	})
	p.outbox = NewOutbox(client, seal)
	return p
}

func (p post) enqueue(t *testing.T, m Message) {
	t.Helper()
	err := p.db.Control(t.Context(), func(tx pgx.Tx) error { return p.outbox.Enqueue(t.Context(), tx, m) })
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor waits until the only job is in the state.
func (p post) waitFor(t *testing.T, state rivertype.JobState, attempt int) {
	t.Helper()
	var got []string
	want := fmt.Sprintf("%s %d", state, attempt)
	for range 1000 {
		got = p.texts(t, `SELECT state || ' ' || attempt FROM kluis_jobs.river_job`)
		if len(got) == 1 && got[0] == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("jobs %q, want %q; log:\n%s", got, want, p.log)
}

// saysNothing looks for the message in all of River's tables and in the log.
func (p post) saysNothing(t *testing.T, m Message) {
	t.Helper()
	for _, table := range p.texts(t, `SELECT tablename::text FROM pg_tables WHERE schemaname = 'kluis_jobs'`) {
		for _, row := range p.texts(t, `SELECT r::text FROM kluis_jobs.`+table+` r`) {
			saysNothing(t, m, table+": "+row)
		}
	}
	saysNothing(t, m, p.log.String())
	if strings.Contains(p.log.String(), "42501") {
		t.Errorf("River may not do what it wants to do: %s", p.log)
	}
}

func TestJob(t *testing.T) {
	t.Parallel()
	p, m := newPost(t), whole("signup_code")
	p.enqueue(t, m)
	if got := p.smtp.WaitFor(t, m.To); got.Code() != "048213" {
		t.Errorf("code %q", got.Code())
	}
	p.waitFor(t, rivertype.JobStateCompleted, 1)
	p.saysNothing(t, m)
}

func TestNoMailWithoutCommit(t *testing.T) {
	t.Parallel()
	p, m := newPost(t), whole("locked")
	back := errors.New("back")
	err := p.db.Control(t.Context(), func(tx pgx.Tx) error {
		if err := p.outbox.Enqueue(t.Context(), tx, m); err != nil {
			t.Error(err)
		}
		return back
	})
	if !errors.Is(err, back) {
		t.Fatal(err)
	}
	m.To = "after@example.org"
	p.enqueue(t, m)
	p.smtp.WaitFor(t, m.To)
	if n := len(p.smtp.Messages()); n != 1 {
		t.Errorf("%d mails", n)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	p, m := newPost(t), whole("reset_code")
	p.smtp.Behave(mailtest.FailTemporarily, 1)
	p.enqueue(t, m)
	p.waitFor(t, rivertype.JobStateAvailable, 1)
	p.saysNothing(t, m)
	p.hurry(t)
	p.smtp.WaitFor(t, m.To)
	p.waitFor(t, rivertype.JobStateCompleted, 2)
	p.saysNothing(t, m)
	if errs := p.texts(t, `SELECT unnest(errors)->>'error' FROM kluis_jobs.river_job`); len(errs) != 1 || errs[0] != "SMTP recipient: 451 4.3.0" {
		t.Errorf("errors %q", errs)
	}
}

// hurry makes the next attempt due.
func (p post) hurry(t *testing.T) {
	t.Helper()
	p.exec(t, `UPDATE kluis_jobs.river_job SET scheduled_at = now()`)
}

func TestRetryAfterLostAnswer(t *testing.T) {
	t.Parallel()
	p, m := newPost(t), whole("reset_code")
	p.smtp.Behave(mailtest.DropAfterData, 1)
	p.enqueue(t, m)
	first := p.smtp.WaitFor(t, m.To)
	p.waitFor(t, rivertype.JobStateAvailable, 1)
	p.hurry(t)
	if second := p.smtp.WaitFor(t, m.To); second.ID != first.ID || len(first.ID) < 36 {
		t.Errorf("Message-ID %s, then %s", first.ID, second.ID)
	}
	p.waitFor(t, rivertype.JobStateCompleted, 2)
}

func TestPermanentRefusals(t *testing.T) {
	t.Parallel()
	for behaviour, want := range map[mailtest.Behaviour]string{
		mailtest.FailPermanently: "SMTP recipient: 550 5.1.1",
		mailtest.RefuseContent:   "SMTP content: 554 5.7.1",
	} {
		p, m := newPost(t), whole("invitation_code")
		p.smtp.Behave(behaviour, -1)
		p.enqueue(t, m)
		p.waitFor(t, rivertype.JobStateCancelled, 1)
		p.saysNothing(t, m)
		errs := p.texts(t, `SELECT unnest(errors)->>'error' FROM kluis_jobs.river_job`)
		if len(errs) != 1 || !strings.HasSuffix(errs[0], want) || !strings.Contains(p.log.String(), `"mail not sent"`) {
			t.Errorf("errors %q, log %s", errs, p.log)
		}
	}
}

func TestEnqueueRefuses(t *testing.T) {
	t.Parallel()
	o := NewOutbox(nil, func([]byte) (string, error) { return "", errors.New("no key") })
	for name, spoil := range map[string]func(*Message){
		"address":  func(m *Message) { m.To += "\r\nBcc: eve@example.org" },
		"template": func(m *Message) { m.Template = "x" },
		"values":   func(m *Message) { m.Values = nil },
		"id":       func(m *Message) { m.ID = "<>" },
	} {
		m := whole("reset_code")
		spoil(&m)
		if err := o.Enqueue(t.Context(), nil, m); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := o.Enqueue(t.Context(), nil, whole("locked")); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Error(err)
	}
}

// work runs one attempt of a job without a database.
func work(t *testing.T, w *Worker, m Message, attempt int, age time.Duration) error {
	t.Helper()
	plain, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := seal(plain)
	return w.Work(t.Context(), &river.Job[Job]{
		JobRow: &rivertype.JobRow{ID: 7, Attempt: attempt, CreatedAt: time.Now().Add(-age)},
		Args:   Job{Sealed: sealed},
	})
}

func TestWhenToGiveUp(t *testing.T) {
	srv := mailtest.New(t)
	srv.Behave(mailtest.FailTemporarily, -1)
	w := NewWorker(newTestSender(t, srv.URL()), unseal, machine)
	for _, c := range []struct {
		template string
		attempt  int
		age      time.Duration
		gives    bool
	}{
		{"reset_code", 1, 0, false},
		{"reset_code", 8, 9 * time.Minute, false},
		{"reset_code", 9, 14 * time.Minute, true},
		{"reset_code", 1, 16 * time.Minute, true}, // nobody could send it in time
		{"invitation_code", 9, 14 * time.Minute, false},
		{"invitation_code", 30, 23*time.Hour + time.Minute, true},
		{"locked", 10, time.Hour, false},
	} {
		err := work(t, w, whole(c.template), c.attempt, c.age)
		var cancel *rivertype.JobCancelError
		if err == nil || errors.As(err, &cancel) != c.gives {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if n := len(srv.Messages()); n != 0 {
		t.Errorf("%d mails", n)
	}
}

// A process whose clock is a year ahead of the database's gives up no mail as too late, and has none that failed wait for a year.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	behind := func(ctx context.Context) (time.Time, error) {
		now, err := h.db.Now(ctx)
		return now.AddDate(-1, 0, 0), err
	}
	p, m := newPostAt(t, h, behind), whole("reset_code")
	p.smtp.Behave(mailtest.FailTemporarily, 1)
	p.enqueue(t, m)
	p.smtp.WaitFor(t, m.To) // what waited was due at once by the real clock
	p.waitFor(t, rivertype.JobStateCompleted, 2)
	if due := p.texts(t, `SELECT (scheduled_at < now() - interval '364 days')::text FROM kluis_jobs.river_job`); due[0] != "true" {
		t.Error("the second attempt was planned by the clock of the machine")
	}

	p.smtp.Behave(mailtest.FailTemporarily, 1)
	w := NewWorker(newTestSender(t, p.smtp.URL()), unseal, behind)
	age := time.Since(time.Now().AddDate(-1, 0, 0))
	if err := work(t, w, m, 1, age); err == nil || errors.As(err, new(*rivertype.JobCancelError)) {
		t.Errorf("the first attempt of a mail of just now: %v", err)
	}
	if err := work(t, w, m, 1, age+time.Hour); !errors.As(err, new(*rivertype.JobCancelError)) {
		t.Errorf("of a mail of an hour ago: %v", err)
	}
}

func TestRetryTimes(t *testing.T) {
	var all time.Duration
	for n := 1; n < maxAttempts; n++ {
		if d := retryAfter(n); d < 5*time.Second || d > time.Hour {
			t.Errorf("after attempt %d: %s", n, d)
		}
		if all += retryAfter(n); n == 8 && all > 14*time.Minute {
			t.Errorf("the ninth attempt comes after %s", all)
		}
	}
	if all < 24*time.Hour {
		t.Errorf("the last attempt comes after %s", all)
	}
}

// What is in a job that does not open, or in a panic, stays there.
func TestBadJobs(t *testing.T) {
	m := whole("reset_code")
	s := newTestSender(t, mailtest.New(t).URL())
	for name, open := range map[string]func(string) ([]byte, error){
		"does not open": func(string) ([]byte, error) { return nil, fmt.Errorf("%v", m) },
		"not JSON":      func(string) ([]byte, error) { return []byte(m.To + m.Values["Code"]), nil },
		"other JSON":    func(string) ([]byte, error) { return []byte(`{"template": "x", "to": "zoe@example.org"}`), nil },
	} {
		err := work(t, NewWorker(s, open, machine), m, 1, 0)
		var cancel *rivertype.JobCancelError
		if !errors.As(err, &cancel) {
			t.Errorf("%s: %v", name, err)
		}
		saysNothing(t, m, fmt.Sprintf("%v %+v", err, err))
	}
	defer func() { saysNothing(t, m, fmt.Sprint(recover())) }()
	_ = work(t, NewWorker(s, func(string) ([]byte, error) { panic(m) }, machine), m, 1, 0)
	t.Error("no panic")
}
