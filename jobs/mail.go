package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/kluis-eu/kluis/internal/keyring"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/telemetry"
)

// mailPurpose is the purpose for which mails are sealed under the keyring.
const mailPurpose = "kluis/mail"

// NewOutbox makes an outbox for commands. Its mails are sent by a process that runs Jobs, this one or another.
func NewOutbox(db *pg.DB, keys *keyring.Keyring) (*mail.Outbox, error) {
	// A client without queues works on nothing, and has nothing to log: its errors are those of Enqueue.
	client, err := river.NewClient(riverpgxv5.New(db.Pool()), mail.Config(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("make the outbox: %w", err)
	}
	return mail.NewOutbox(client, func(plain []byte) (string, error) { return keys.Seal(mailPurpose, plain) }), nil
}

// mails sends the mails of an outbox.
type mails struct {
	*river.Client[pgx.Tx]
	worker  *mail.Worker
	running *atomic.Pointer[context.Context] // the context of Run, once that has begun
}

func newMails(n Needs) (*mails, error) {
	running := &atomic.Pointer[context.Context]{}
	config := mail.Config(telemetry.UntilEnd(n.Log, func() bool { // River closes its connection before it is done with it
		ctx := running.Load()
		return ctx != nil && (*ctx).Err() != nil
	}))
	config.FetchPollInterval = 2 * time.Second // River hears of a new job at once: this is for when the notification was lost
	config.SoftStopTimeout = patience
	config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 8}}
	config.Workers = river.NewWorkers()
	open := func(token string) ([]byte, error) { return n.Keys.Open(mailPurpose, token) }
	worker := mail.NewWorker(n.Sender, open, n.DB.Now)
	worker.Gone = n.Commands.MailIsFutile
	if err := worker.Join(config); err != nil {
		return nil, fmt.Errorf("make the mail worker: %w", err)
	}
	config.LeaderElectionDisabled = clockIsWrong(n)
	client, err := river.NewClient(riverpgxv5.New(n.DB.Pool()), config)
	if err != nil {
		return nil, fmt.Errorf("make the mail worker: %w", err)
	}
	return &mails{client, worker, running}, nil
}

// clockIsWrong tells whether this machine's clock is far from the database's. River's leader goes by the clock of its machine: a year ahead, it would
// delete queues that are in use, and have mails sent twice that are under way. So such a process sends mails, and never leads.
func clockIsWrong(n Needs) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	now, err := n.DB.Now(ctx)
	wrong := err == nil && time.Until(now).Abs() > 5*time.Minute
	if wrong {
		n.Log.WarnContext(ctx, "the clock of this machine is far from the database's: set it right; failed mails are not tried again by this process", "database", now.UTC())
	}
	return wrong
}

// sendMails sends mails until ctx ends. River fails to start when there is no database: so sendMails starts it again until there is one.
func (j *Jobs) sendMails(ctx context.Context) error {
	j.mails.running.Store(&ctx)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := j.mails.worker.ReadClock(ctx)
		if err == nil {
			err = j.mails.Start(ctx)
		}
		if err == nil {
			<-j.mails.Stopped()
			return nil
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the process ends before River has started
		}
		j.Log.WarnContext(ctx, "mails cannot be sent yet", "again_in", pause.String(), "error", err.Error())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// firstPause is the pause after the first failed start. It doubles up to lastPause.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)
