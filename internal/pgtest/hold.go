package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgserver"
)

// claim is what a test program has of a server: its locks and databases. The fields above mu are set once.
type claim struct {
	server *pgserver.Server // nil: KLUIS_TEST_DATABASE_URL's
	admin  string           // superuser's URL of the database in which locks are taken: advisory locks are per database
	login  func(database string) (url string, err error)
	self   string       // the holder that owns this program's databases
	count  atomic.Int64 // of databases made

	mu        sync.Mutex
	conn      *pgx.Conn // has the locks; when it ends, by whatever means, they end
	templates map[string]*template
}

func newClaim(ctx context.Context) (*claim, error) {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	h := &claim{self: hex.EncodeToString(random), templates: map[string]*template{}}
	if err := h.reach(ctx); err != nil {
		return nil, err
	}
	var err error
	if h.conn, err = pgx.Connect(ctx, h.admin); err != nil {
		return nil, h.giveUp(ctx, fmt.Errorf("connect: %w", err))
	}
	if err := lockShared(ctx, h.conn, h.self); err != nil {
		return nil, h.giveUp(ctx, err)
	}
	if err := h.sweep(ctx); err != nil {
		return nil, h.giveUp(ctx, fmt.Errorf("sweep up after earlier runs: %w", err))
	}
	if err := lockShared(ctx, h.conn, "users"); err != nil { // see sweepRoles
		return nil, h.giveUp(ctx, err)
	}
	return h, nil
}

func (h *claim) giveUp(ctx context.Context, err error) error {
	if h.conn != nil {
		_ = h.conn.Close(ctx) // err is what matters
	}
	if h.server != nil {
		_ = h.server.Stop(ctx)
	}
	return err
}

// name is a new name for a database of this program.
func (h *claim) name() string {
	return fmt.Sprintf("%s%s_%d", prefix, h.self, h.count.Add(1))
}

// holderOf is the part of a database's name that says whose it is.
func holderOf(database string) string {
	holder, _, _ := strings.Cut(strings.TrimPrefix(database, prefix), "_")
	return holder
}

// The lock of a holder: shared by the programs that use its databases, alone for one who wants to drop them.

func lockShared(ctx context.Context, conn *pgx.Conn, holder string) error {
	_, err := conn.Exec(ctx, `select pg_advisory_lock_shared(hashtextextended('kluis test ' || $1, 0))`, holder)
	return err
}

func unlockShared(ctx context.Context, conn *pgx.Conn, holder string) error {
	_, err := conn.Exec(ctx, `select pg_advisory_unlock_shared(hashtextextended('kluis test ' || $1, 0))`, holder)
	return err
}

func tryLock(ctx context.Context, conn *pgx.Conn, holder string) (free bool, err error) {
	err = conn.QueryRow(ctx, `select pg_try_advisory_lock(hashtextextended('kluis test ' || $1, 0))`, holder).Scan(&free)
	return free, err
}

func unlock(ctx context.Context, conn *pgx.Conn, holder string) error {
	_, err := conn.Exec(ctx, `select pg_advisory_unlock(hashtextextended('kluis test ' || $1, 0))`, holder)
	return err
}
