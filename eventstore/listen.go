package eventstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pg"
)

// A notification is "<sender>:<id>,<id>,...", and "<sender>:" for all workspaces.
const (
	maxNews    = 200                  // ids in one: Postgres allows 8000 bytes
	newsGap    = 5 * time.Millisecond // between two notifications
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Connect joins the bell to those of the other processes on the same database, until ctx ends. It returns
// an error only when the bell is connected already.
//
// Rings are sent to the other processes after the commit, on a connection of the pool, because a NOTIFY inside the append would make all
// appends of the server wait for each other. Rings within newsGap share one NOTIFY. The bell listens on a connection of its own, beside the
// pool, without polling. Behind PgBouncer in transaction mode a LISTEN hears nothing; then waiters depend on their reads at intervals.
func (b *Bell) Connect(ctx context.Context, db *pg.DB, log *slog.Logger) error {
	b.mu.Lock()
	connected := b.news != nil
	if !connected {
		b.news = map[uuid.UUID]bool{}
	}
	b.mu.Unlock()
	if connected {
		return errors.New("the bell is connected already")
	}
	l := &line{bell: b, db: db, log: log, sender: newSender()}
	var both sync.WaitGroup
	both.Go(func() { l.speak(ctx) })
	both.Go(func() { l.hear(ctx) })
	both.Wait()
	b.mu.Lock()
	b.news = nil
	b.mu.Unlock()
	return nil
}

// line is the connection of a bell to the other processes.
type line struct {
	bell   *Bell
	db     *pg.DB
	log    *slog.Logger
	sender string        // the mark by which a process recognises its own notifications
	retry  time.Duration // hear's next pause
}

func newSender() string {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}

// speak sends the rings of this process to the others, at most once in newsGap.
func (l *line) speak(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.bell.told:
		}
		l.bell.mu.Lock()
		ids := slices.Collect(maps.Keys(l.bell.news))
		clear(l.bell.news)
		l.bell.mu.Unlock()
		if len(ids) == 0 { // the last notification had them
			continue
		}
		pause := newsGap
		if _, err := l.db.Pool().Exec(ctx, `select pg_notify('kluis_signal', $1)`, l.write(ids)); err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "other processes cannot be told of new events", "workspaces", len(ids), "error", err.Error())
			l.bell.tell(ids...)
			pause = time.Second
		}
		sleep(ctx, pause)
	}
}

func (l *line) write(ids []uuid.UUID) string {
	if len(ids) > maxNews {
		ids = nil
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return l.sender + ":" + strings.Join(texts, ",")
}

// hear rings the bell for the notifications of the others. It connects again whenever the connection breaks.
func (l *line) hear(ctx context.Context) {
	l.retry = firstRetry
	for {
		err := l.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		l.log.WarnContext(ctx, "other processes cannot be heard", "again_in", l.retry.String(), "error", err.Error())
		sleep(ctx, l.retry)
		l.retry = min(2*l.retry, lastRetry)
	}
}

// listen rings for all workspaces once the LISTEN is in force, because earlier notifications do not come again.
func (l *line) listen(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, l.db.Pool().Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // nothing is lost by an error
	}()
	if _, err := conn.Exec(ctx, `listen kluis_signal`); err != nil {
		return err
	}
	l.retry = firstRetry
	l.bell.ringAll()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		l.heard(n.Payload)
	}
}

func (l *line) heard(payload string) {
	sender, texts, _ := strings.Cut(payload, ":")
	if sender == l.sender {
		return
	}
	var ids []uuid.UUID
	for text := range strings.SplitSeq(texts, ",") {
		id, err := uuid.Parse(text)
		if err != nil { // all workspaces, or a notification of another program: waking too many waiters does no harm
			l.bell.ringAll()
			return
		}
		ids = append(ids, id)
	}
	l.bell.ring(ids...)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
