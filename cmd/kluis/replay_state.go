package main

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/tenancy"
	"github.com/kluis-eu/kluis/projections"
)

// state is `kluis replay --state`: it rebuilds the read models of a moment, waits while somebody looks at them, and drops them.
func (r replay) state(ctx context.Context, b *base, out outputs, e tenancy.Entry, m projections.Moment) error {
	return b.Tenancy.InState(ctx, e.Workspace(), func(ctx context.Context, s pg.Shadow) error {
		begun := time.Now()
		if err := b.Projections.FillState(ctx, s, m, progress(out.stderr, e.Slug)); err != nil {
			return err
		}
		took := time.Since(begun)
		address, err := b.readerOf(ctx, s)
		if err != nil {
			return err
		}
		if r.Command != nil {
			return r.runViewer(ctx, out, address)
		}
		_, err = fmt.Fprintf(out.stdout, `%s as it was at position %d, of %s; rebuilt in %s

schema       %s
look at it   psql '%s'
tables       %s
views        those of docs/analytics.md, without event_view

The schema is dropped when this command ends, with Enter or a signal.
`, e.Slug, m.Position, m.At.UTC().Format(time.RFC3339Nano), took.Round(time.Millisecond), s.Schema(), address, strings.Join(projections.Tables(), " "))
		if err == nil {
			untilEntered(ctx)
		}
		return err
	})
}

// readerOf makes a login that reads a state, and gives the URL with its password.
func (b *base) readerOf(ctx context.Context, s pg.Shadow) (*url.URL, error) {
	login, password, err := b.Tenancy.OpenState(ctx, s)
	if err != nil {
		return nil, err
	}
	return b.addressOf(login, password)
}

// untilEntered waits for Enter, or for the end of ctx.
func untilEntered(ctx context.Context) {
	entered := make(chan struct{})
	go func() {
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
			close(entered)
		}
	}()
	select {
	case <-entered:
	case <-ctx.Done():
	}
}

// runViewer runs the program that looks at a state.
func (r replay) runViewer(ctx context.Context, out outputs, address *url.URL) error {
	cmd := exec.CommandContext(ctx, r.Command[0], r.Command[1:]...)
	cmd.Env = append(os.Environ(), libpqEnv(address)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out.stdout, out.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", r.Command[0], err)
	}
	return nil
}

// libpqEnv gives the URL of a database as environment variables, as psql and other programs on libpq read them.
func libpqEnv(address *url.URL) []string {
	password, _ := address.User.Password()
	env := []string{"PGUSER=" + address.User.Username(), "PGPASSWORD=" + password, "PGDATABASE=" + strings.TrimPrefix(address.Path, "/")}
	if address.Hostname() != "" {
		env = append(env, "PGHOST="+address.Hostname())
	}
	if address.Port() != "" {
		env = append(env, "PGPORT="+address.Port())
	}
	for name, values := range address.Query() { // host, port, sslmode, sslrootcert
		env = append(env, "PG"+strings.ToUpper(name)+"="+values[0])
	}
	return env
}
