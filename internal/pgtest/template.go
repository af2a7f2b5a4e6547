package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgserver"
)

// template is a database to clone. Its holder is a name of its own, since processes share it.
type template struct {
	once   sync.Once
	holder string
	err    error
}

func (t *template) database() string { return prefix + t.holder + "_template" }

// template returns the database of a template, which is made with the first call.
func (h *claim) template(name string, prepare func(url string) error) (string, error) {
	holder, err := templateHolder(name)
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	t := h.templates[name]
	if t == nil {
		t = &template{holder: holder}
		h.templates[name] = t
	}
	h.mu.Unlock()
	t.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
		defer cancel()
		h.mu.Lock()
		t.err = lockShared(ctx, h.conn, t.holder) // from here on nobody drops it
		h.mu.Unlock()
		if t.err == nil {
			t.err = h.makeTemplate(ctx, t, prepare)
		}
	})
	return t.database(), t.err
}

// templateHolder tells templates of one name apart by the test program that fills them: a program built anew may
// have other migrations in it.
func templateHolder(name string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(program)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", name, program, info.ModTime().UnixNano()))
	return hex.EncodeToString(sum[:8]), nil
}

// heldTemplates lists the templates that this program has a lock on. The caller has mu, and no test runs any more.
func (h *claim) heldTemplates() []string {
	var holders []string
	for _, t := range h.templates {
		holders = append(holders, t.holder)
	}
	return holders
}

// makeTemplate makes the database and fills it, unless another process of the same program has. A template is whole
// when it takes no connections: that is set last, and cloning needs it anyway.
func (h *claim) makeTemplate(ctx context.Context, t *template, prepare func(url string) error) error {
	conn, err := pgx.Connect(ctx, h.admin) // and not h.conn: filling takes long
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `select pg_advisory_lock(hashtextextended('kluis test template ' || $1, 0))`, t.holder); err != nil {
		return err
	}
	var accepts bool
	err = conn.QueryRow(ctx, `select datallowconn from pg_database where datname = $1`, t.database()).Scan(&accepts)
	switch {
	case err == nil && !accepts:
		return nil
	case err == nil: // whoever was filling it was killed
		if err := drop(ctx, h.admin, t.database()); err != nil {
			return err
		}
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	return h.fill(ctx, conn, t.database(), prepare)
}

func (h *claim) fill(ctx context.Context, conn *pgx.Conn, database string, prepare func(url string) error) error {
	if err := pgserver.CreateDatabase(ctx, h.admin, database, pgserver.Login); err != nil {
		return err
	}
	url, err := h.login(database)
	if err != nil {
		return err
	}
	if err := prepare(url); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if _, err := conn.Exec(ctx, `alter database `+pgx.Identifier{database}.Sanitize()+` allow_connections false`); err != nil {
		return err
	}
	// prepare's own connections may be on their way out, and no clone can be made as long as one is there.
	_, err = conn.Exec(ctx, `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1`, database)
	return err
}
