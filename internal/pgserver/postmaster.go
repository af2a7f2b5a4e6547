package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// patience is how long the processes of a stopped server may take to end, and a running server to answer.
const patience = 30 * time.Second

// ensureRunning returns the socket of a server that accepts connections: the one that others use, or a new one. A server that an ended
// process has left behind is stopped first, in whatever state it is, so that there is only one way to begin. The caller holds the
// transition. Recovery after a crash has no time limit but ctx.
func (s *Server) ensureRunning(ctx context.Context) (socket string, err error) {
	for began := time.Now(); ; {
		held, err := s.alive.held()
		if err != nil {
			return "", err
		}
		if !held {
			return s.launch(ctx)
		}
		alone, err := s.alone()
		if err != nil {
			return "", err
		}
		if alone {
			if err := s.endLeftBehind(ctx); err != nil {
				return "", err
			}
			continue
		}
		if socket, err := s.shared(ctx, time.Since(began) > patience); socket != "" || err != nil {
			return socket, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return "", fmt.Errorf("wait for the Postgres that runs in %s: %w", s.folder, err)
		}
	}
}

// shared returns the socket of the server that others use, when it answers, and otherwise an empty one. Until then the server may be starting,
// recovering or stopping, or it was left behind by a killed process, and ends by itself. When late, only a server that starts or recovers
// is still waited for; any other is an error.
func (s *Server) shared(ctx context.Context, late bool) (socket string, err error) {
	p, err := readPidfile(s.folder.cluster())
	ready := err == nil && p.ready
	if ready {
		if err = s.answers(ctx, p.socket); err == nil {
			return p.socket, nil
		}
	}
	switch {
	case refused(err):
		return "", s.wrongPassword(err)
	case late && (ready || s.postmaster() == 0):
		return "", fmt.Errorf("the Postgres in %s (process %d), which others use, does not answer after %v: end all processes that hold the lock of %s: %w",
			s.folder, p.pid, patience, s.alive.f.Name(), err)
	}
	return "", nil
}

func (s *Server) endLeftBehind(ctx context.Context) error {
	s.log.InfoContext(ctx, "stopping the Postgres that an ended process has left behind", "folder", string(s.folder))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.shutdown(ctx)
}

// refused tells whether the password was wrong.
func refused(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == "28P01"
}

func (s *Server) wrongPassword(err error) error {
	if !s.passwords.stored {
		return fmt.Errorf("%s is gone and others use the server: stop them first", s.folder.file("passwords"))
	}
	return fmt.Errorf("the cluster in %s has other passwords than %s: remove that file and start again, which sets new ones: %w", s.folder, s.folder.file("passwords"), err)
}

// answers connects to the server behind a socket.
func (s *Server) answers(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	there := Server{socket: socket, passwords: s.passwords}
	conn, err := pgx.Connect(ctx, there.SuperuserURL(superuser))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// claim takes alive, which programs then inherit, as soon as no program of this folder runs.
func (s *Server) claim(ctx context.Context) (lock, error) {
	l, err := s.folder.openLock("alive")
	if err != nil {
		return lock{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("programs of Postgres still run there after %v", patience))
	defer cancel()
	if err := l.wait(ctx, syscall.LOCK_EX); err != nil {
		l.close()
		return lock{}, err
	}
	return l, nil
}

// launch starts a postmaster and returns its socket.
func (s *Server) launch(ctx context.Context) (socket string, err error) {
	alive, err := s.claim(ctx)
	if err != nil {
		return "", err
	}
	defer alive.close() // the postmaster has inherited it
	if err := s.prepareFiles(); err != nil {
		return "", err
	}
	if socket = s.socket; socket == "" { // a server that is started again keeps its address, because connection pools have it
		if socket, err = s.chooseSocket(ctx); err != nil {
			return "", err
		}
	}
	if err := s.makeSocket(socket); err != nil {
		return "", err
	}
	log, err := s.openLog()
	if err != nil {
		return "", err
	}
	defer log.Close()
	data, err := s.openData(ctx, s.folder.cluster())
	if err != nil {
		return "", err
	}
	defer data.close()
	if err := s.ensurePasswords(ctx, alive, data); err != nil {
		return "", err
	}
	cmd := s.program("postgres", alive, data, s.arguments(socket)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.child = cmd.Process.Pid
	_ = cmd.Process.Release() // reap waits for it, without a goroutine that lasts as long as the server
	return socket, s.waitReady(ctx, socket, log)
}

// arguments are the settings that no file may change. Statements and the DETAIL of errors stay out of the log, because they contain
// personal data.
func (s *Server) arguments(socket string) []string {
	all := map[string]string{
		"listen_addresses": "", "unix_socket_directories": socket, "unix_socket_permissions": "0700", "port": port,
		"timezone": "UTC", "log_timezone": "UTC", "lc_messages": "C",
		"log_destination": "stderr", "logging_collector": "off", "log_line_prefix": "%m [%p] %q%u@%d ",
		"log_min_error_statement": "panic", "log_error_verbosity": "terse",
	}
	maps.Copy(all, s.settings)
	var args []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "-c", name+"="+all[name])
	}
	return args
}

// openLog opens the log at its end. When it has grown beyond 16 MB, a new one begins.
func (s *Server) openLog() (*os.File, error) {
	if info, err := os.Stat(s.folder.file("log")); err == nil && info.Size() > 16<<20 {
		if err := os.Rename(s.folder.file("log"), s.folder.file("log.old")); err != nil {
			return nil, err
		}
	}
	return s.folder.openPrivate("log", os.O_APPEND)
}

// waitReady waits until the child accepts connections with the passwords. When the child has ended, the error has what it wrote.
func (s *Server) waitReady(ctx context.Context, socket string, log *os.File) error {
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for {
		if ended, status := s.reap(); ended {
			said, _ := io.ReadAll(io.NewSectionReader(log, before, 1<<20)) // when that fails, the error says less
			return fmt.Errorf("the server ended while starting (%s), see %s: %s", status, log.Name(), lastLines(string(said)))
		}
		if p, err := readPidfile(s.folder.cluster()); err == nil && p.ready && p.pid == s.child {
			break
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for Postgres to start, see %s: %w", log.Name(), err)
		}
	}
	if err = s.answers(ctx, socket); refused(err) {
		return s.wrongPassword(err)
	}
	return err
}
