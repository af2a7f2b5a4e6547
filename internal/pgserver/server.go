package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"
)

// Options are the options of Start. The zero value is right for `kluis serve`.
type Options struct {
	Log       *slog.Logger      // nil: no log
	Binaries  string            // folder of Postgres' programs; empty: it is searched for
	Settings  map[string]string // further settings (-c), for tests and benchmarks; a server that others use keeps its own
	Unwatched bool              // do not start the server again when it ends by itself
}

// Server is one user of a private Postgres. Start sets all fields, which are only read afterwards. The exception is child: it belongs to
// Start, then to watch, then to Stop, one after the other.
type Server struct {
	folder    folder
	log       *slog.Logger
	settings  map[string]string
	account   account
	binaries  binaries
	passwords passwords
	socket    string // its folder

	transition, users, alive lock // see the package comment

	child int // the postmaster, if this process started it and has not reaped it

	endWatch func() // ends watch and waits for it
	stop     sync.Once
	stopErr  error
}

// Start returns when the private Postgres in dir accepts connections. It makes the cluster when there is none, and shares a server that another
// process runs. It never deletes data: a cluster of another major version, or half a cluster, is refused.
func Start(ctx context.Context, dir string, opts Options) (*Server, error) {
	s := &Server{log: opts.Log, settings: opts.Settings, endWatch: func() {}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.open(ctx, dir); err != nil {
		s.close()
		return nil, fmt.Errorf("private Postgres: %w", err)
	}
	if err := s.begin(ctx, opts.Binaries); err != nil {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("private Postgres: %w", err), s.leave(after)) // so that nothing is left running
	}
	if !opts.Unwatched {
		s.startWatch()
	}
	return s, nil
}

// open opens the folder and its locks, and takes the transition.
func (s *Server) open(ctx context.Context, dir string) (err error) {
	if s.folder, err = openFolder(dir); err != nil {
		return err
	}
	for _, l := range []struct {
		lock *lock
		name string
	}{{&s.transition, "lock"}, {&s.users, "users"}, {&s.alive, "alive"}} {
		if *l.lock, err = s.folder.openLock(l.name); err != nil {
			return err
		}
	}
	return s.transition.wait(ctx, syscall.LOCK_EX)
}

func (s *Server) close() {
	s.users.close()
	s.alive.close()
	s.transition.close()
}

// begin brings the server up. It holds the transition exclusively, so of two processes at once the second one finds a server to share.
func (s *Server) begin(ctx context.Context, binariesFolder string) error {
	defer s.transition.release()
	if err := s.users.wait(ctx, syscall.LOCK_SH); err != nil {
		return err
	}
	var err error
	if s.account, err = accountFor(s.folder); err != nil {
		return err
	}
	major, err := clusterMajor(s.folder)
	if err != nil {
		return err
	}
	if s.binaries, err = newSearch(s.account, s.log, binariesFolder, major, cacheFolder(s.folder)).find(ctx); err != nil {
		return err
	}
	if major == 0 {
		if err := s.createCluster(ctx); err != nil {
			return err
		}
	}
	if s.passwords, err = readPasswords(s.folder); err != nil {
		return err
	}
	s.socket, err = s.ensureRunning(ctx)
	return err
}

// alone tells whether nobody else uses the server. The caller holds the transition, so it stays true.
func (s *Server) alone() (bool, error) {
	alone, err := s.users.try(syscall.LOCK_EX)
	if err != nil {
		return false, err
	}
	_, err = s.users.try(syscall.LOCK_SH) // cannot be in anybody's way: only the holder of the transition takes users exclusively
	return alone, err
}

// Stop ends the use of the server. The last user, in whatever process, stops the server: with a checkpoint, or without one when ctx ends
// first. Then the next Start takes longer, and nothing is lost.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		s.endWatch()
		if err := s.leave(ctx); err != nil {
			s.stopErr = fmt.Errorf("stop the private Postgres: %w", err)
		}
	})
	return s.stopErr
}

func (s *Server) leave(ctx context.Context) error {
	defer s.close()
	if err := s.transition.wait(ctx, syscall.LOCK_EX); err != nil {
		return err
	}
	alone, err := s.alone()
	if err != nil || !alone {
		return err
	}
	return s.shutdown(ctx)
}

// URL is the address of a database for the application's login, which owns nothing, inherits nothing, makes nothing, and is no
// superuser.
func (s *Server) URL(database string) string { return s.url(Login, s.passwords.login, database) }

// AdminURL is the address of a database for the login that makes roles and schemas.
func (s *Server) AdminURL(database string) string { return s.url(Admin, s.passwords.admin, database) }

// SuperuserURL is the address of a database for the superuser, for tests and repairs.
func (s *Server) SuperuserURL(database string) string {
	return s.url(superuser, s.passwords.superuser, database)
}

func (s *Server) url(user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Path: "/" + database,
		RawQuery: url.Values{"host": {s.socket}, "port": {port}}.Encode()}
	return u.String()
}

// prepareFiles makes the cluster ready for the programs that work on it.
func (s *Server) prepareFiles() error {
	if err := s.repairPidfile(); err != nil {
		return err
	}
	info, err := os.Stat(s.folder.cluster())
	if err != nil {
		return err
	}
	if s.account.drop && ownerOf(info) != s.account.uid {
		return s.account.giveTree(s.folder.cluster())
	}
	return nil
}
