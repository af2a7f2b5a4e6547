package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/kluis-eu/kluis/internal/telemetry"
)

// Job is one mail to send, as River's table stores it. The whole message is one sealed token.
type Job struct {
	Sealed string `json:"sealed"`
	Recipient
}

// Kind implements river.JobArgs: it is the name of the job in the table.
func (Job) Kind() string { return "mail" }

// Outbox takes mails in. It is safe for concurrent use.
type Outbox struct {
	jobs *river.Client[pgx.Tx]
	seal func([]byte) (string, error)
}

// NewOutbox makes an outbox. seal makes a sealed token of a message; [NewWorker] gets its opposite.
func NewOutbox(jobs *river.Client[pgx.Tx], seal func([]byte) (string, error)) *Outbox {
	return &Outbox{jobs: jobs, seal: seal}
}

// Enqueue asks for a mail in the caller's transaction, which is the login's or the owner's. The mail is sent soon after the transaction has
// committed, and never when it does not commit. After an error the caller must roll back.
//
// A message that could never be sent is [ErrRefused] here already. No error contains an address, a name or a code.
func (o *Outbox) Enqueue(ctx context.Context, tx pgx.Tx, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	if m.ID == "" {
		m.ID = uuid.NewString()
	}
	plain, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("enqueue mail: %w", err)
	}
	sealed, err := o.seal(plain)
	if err != nil {
		return fmt.Errorf("enqueue mail: seal: %w", err)
	}
	put, err := o.jobs.InsertTx(ctx, tx, Job{Sealed: sealed, Recipient: m.Of}, &river.InsertOpts{MaxAttempts: maxAttempts})
	if err == nil { // River's driver has written the time of this machine
		_, err = tx.Exec(ctx, `update `+Schema+`.river_job set created_at = now(), scheduled_at = now() where id = $1`, put.Job.ID)
	}
	if err != nil {
		return fmt.Errorf("enqueue mail: %w", err)
	}
	return nil
}

// Worker sends the mails of an outbox.
type Worker struct {
	river.WorkerDefaults[Job]
	sender *Sender
	open   func(string) ([]byte, error)
	clock  clock

	// Gone tells whether a recipient was erased, and empties the job then. nil: no recipient ever is.
	Gone func(ctx context.Context, job int64, to Recipient) (bool, error)
}

// NewWorker makes the worker for jobs of kind "mail". open is the opposite of the outbox's seal; now asks the database for its time.
func NewWorker(sender *Sender, open func(string) ([]byte, error), now func(context.Context) (time.Time, error)) *Worker {
	return &Worker{sender: sender, open: open, clock: clock{ask: now}}
}

// Join has a River client run the worker, by the database's clock.
func (w *Worker) Join(config *river.Config) error {
	config.Test.Time = &w.clock // River's only setting for a clock
	return river.AddWorkerSafely(config.Workers, w)
}

// ReadClock reads the database's clock for the first time. It is called before the client starts.
func (w *Worker) ReadClock(ctx context.Context) error { return w.clock.read(ctx) }

// Timeout implements [river.Worker]. It is longer than a Sender takes to give up by itself.
func (*Worker) Timeout(*river.Job[Job]) time.Duration { return sendTimeout + 30*time.Second }

// maxAttempts is more than the tries, by retryAfter, in the longest time that a mail is useful.
const maxAttempts = 50

// retryAfter is the pause after the n-th failed attempt, from 1. It is 5 s, doubled each time up to 4 minutes, so that a code has nine tries in
// its 15 minutes. From the tenth attempt on it is an hour.
func retryAfter(n int) time.Duration {
	if n >= 10 {
		return time.Hour
	}
	return min(5*time.Second<<(max(n, 1)-1), 4*time.Minute)
}

// NextRetry implements [river.Worker].
func (w *Worker) NextRetry(job *river.Job[Job]) time.Time {
	return w.clock.Now().Add(retryAfter(job.Attempt))
}

// Work sends the mail. When the mail can never be sent, or not before it is useless, the job is cancelled; after other failures it is tried again.
// River stores and logs the text of the error, so it is never another package's text: see [SendError].
func (w *Worker) Work(ctx context.Context, job *river.Job[Job]) error {
	defer func() {
		if v := recover(); v != nil {
			panic(fmt.Sprintf("mail: %T", v)) // River stores the value, which may hold anything; the stack trace stays
		}
	}()
	if w.Gone != nil && job.Args.Member != uuid.Nil {
		gone, err := w.Gone(ctx, job.ID, job.Args.Recipient)
		if err != nil {
			return errors.New("whether the recipient was erased could not be looked up")
		}
		if gone {
			return river.JobCancel(errors.New("the recipient was erased"))
		}
	}
	m, err := w.message(job)
	if err != nil {
		return w.giveUp(ctx, job, "unknown", err)
	}
	if err := w.clock.read(ctx); err != nil {
		return errors.New("the database did not tell its time")
	}
	m.At = w.clock.Now()
	end := job.CreatedAt.Add(kinds[m.Template].useful)
	if m.At.After(end) {
		return w.giveUp(ctx, job, m.Template, errors.New("too late to be useful"))
	}
	sending, span := telemetry.Begin(ctx, "mail")
	defer span.End()
	span.Text("kluis.template", m.Template)
	if err = w.sender.Send(sending, m); err != nil {
		span.Failed()
	}
	var refused *SendError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return err
	case errors.Is(err, ErrRefused), errors.As(err, &refused) && refused.Permanent():
		return w.giveUp(ctx, job, m.Template, err)
	case w.NextRetry(job).After(end):
		return w.giveUp(ctx, job, m.Template, fmt.Errorf("after %d attempts: %w", job.Attempt, err))
	}
	return err
}

// message opens the job. It keeps back the errors of the keyring and of the JSON decoder, which could quote the message.
func (w *Worker) message(job *river.Job[Job]) (Message, error) {
	plain, err := w.open(job.Args.Sealed)
	if err != nil {
		return Message{}, errors.New("the sealed message does not open: it is damaged, or its key is gone")
	}
	var m Message
	if json.Unmarshal(plain, &m) != nil {
		return Message{}, errors.New("what was sealed is not a message")
	}
	return m, nil
}

// giveUp cancels the job, and warns the operator: River would cancel it without a warning.
func (w *Worker) giveUp(ctx context.Context, job *river.Job[Job], template string, err error) error {
	w.sender.log.WarnContext(ctx, "mail not sent", "template", template, "job", job.ID, "attempt", job.Attempt, "error", err)
	return river.JobCancel(err)
}
