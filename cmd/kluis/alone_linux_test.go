package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kluis-eu/kluis/internal/blob/blobtest"
	"github.com/kluis-eu/kluis/internal/mail/mailtest"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// namespace is a network with nothing but loopback. A packet to any other address has no route, and Linux counts that.
type namespace struct{ work chan func() }

// newNamespace skips the test when the user may not make a namespace.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = loopbackUp()
		}
		made <- err
		for f := range n.work {
			f()
		}
	}()
	t.Cleanup(func() { close(n.work) })
	if err := <-made; errors.Is(err, syscall.EPERM) {
		t.Skip("a network of its own takes root")
	} else if err != nil {
		t.Fatal(err)
	}
	return n
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// in runs a function in the namespace, which its sockets and its processes share.
func (n *namespace) in(f func()) {
	done := make(chan struct{})
	n.work <- func() { defer close(done); f() }
	<-done
}

func (n *namespace) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	n.in(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, address) })
	return conn, err
}

// nowhere counts the packets that had no route.
func (n *namespace) nowhere(t *testing.T) (sum int) {
	t.Helper()
	var v4, v6 []byte
	var failed error
	n.in(func() {
		var one, other error
		v4, one = os.ReadFile("/proc/thread-self/net/snmp")
		v6, other = os.ReadFile("/proc/thread-self/net/snmp6")
		failed = errors.Join(one, other)
	})
	if failed != nil {
		t.Fatal(failed)
	}
	var names []string
	for line := range strings.Lines(string(v4)) {
		fields := strings.Fields(line)
		if fields[0] != "Ip:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if name == "OutNoRoutes" {
				count, _ := strconv.Atoi(fields[i])
				sum += count
			}
		}
	}
	for line := range strings.Lines(string(v6)) {
		if fields := strings.Fields(line); fields[0] == "Ip6OutNoRoutes" {
			count, _ := strconv.Atoi(fields[1])
			sum += count
		}
	}
	return sum
}

// Kluis calls only the database, S3 and SMTP. In a network with nothing else it does everything, and does not even try to reach another address.
func TestNobodyElseIsCalled(t *testing.T) {
	t.Parallel()
	blobtest.Program(t) // is fetched from elsewhere
	n := newNamespace(t)
	for _, address := range []string{"192.0.2.1:443", "[2001:db8::1]:443"} {
		before := n.nowhere(t)
		if conn, err := n.dial(t.Context(), "tcp", address); err == nil {
			t.Fatalf("there is a way to %s: %v", address, conn.RemoteAddr())
		}
		if n.nowhere(t) == before {
			t.Fatalf("that somebody wanted to go to %s is not counted", address)
		}
	}
	h := sharedHome(t, pgtest.Database(t))
	var smtp *mailtest.Server
	var s3 *blobtest.Gateway
	n.in(func() { smtp, s3 = mailtest.New(t), blobtest.Start(t) })
	h.env = append(h.env, "KLUIS_SMTP_URL="+smtp.URL(), "KLUIS_BLOB_URL="+s3.URL, "AWS_EC2_METADATA_DISABLED=")
	before := n.nowhere(t)
	var s *server
	n.in(func() { s = h.start(t) })
	ann := &client{url: s.url, http: &http.Client{Transport: &http.Transport{DialContext: n.dial}}}
	until(t, "the server is ready", func() bool {
		r, err := ann.do("GET", "/readyz", "")
		return err == nil && r.status == http.StatusOK
	})
	ann.works(t, smtp)
	archive := filepath.Join(t.TempDir(), "acme.zip")
	if err := os.WriteFile(archive, ann.exported(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"keys", "status"}, {"doctor"}, {"verify"}, {"import", archive, "--as", "again"}, {"backup", filepath.Join(t.TempDir(), "backup")},
		{"workspace", "erase", "--now", "--confirm", "again", "again"}} {
		cmd := h.command(t.Context(), args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		var err error
		n.in(func() { err = cmd.Start() })
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil && args[0] != "doctor" { // who finds that the tests' Postgres does without fsync
			t.Errorf("kluis %s: %v\n%s", strings.Join(args, " "), err, said.String())
		}
	}
	if status := s.stop(t); status != success {
		t.Errorf("it ended with %d", status)
	}
	if tried := n.nowhere(t) - before; tried > 0 {
		t.Errorf("%d times Kluis wanted to go elsewhere", tried)
	}
}

// works does a bit of everything that may send or fetch something.
func (c *client) works(t *testing.T, smtp *mailtest.Server) {
	t.Helper()
	var signup struct {
		SignupID string `json:"signup_id"`
	}
	decode(t, c.want(t, http.StatusAccepted, "POST", "/api/signup", `{"workspace": {"slug": "acme", "name": "Acme"}, "email": "ann@acme.example", "full_name": "Ann", "password": "`+plain+`"}`).body, &signup)
	var admitted struct{ Token string }
	decode(t, c.want(t, http.StatusCreated, "POST", "/api/signup/verify", fmt.Sprintf(`{"signup_id": %q, "code": %q}`, signup.SignupID, smtp.WaitFor(t, "ann@acme.example").Code())).body, &admitted)
	c.token = admitted.Token
	file := c.attach(t, "a plan")
	c.want(t, http.StatusOK, "GET", file, "")
	c.want(t, http.StatusCreated, "POST", "/api/members", `{"email": "bob@acme.example", "full_name": "Bob", "role": "member"}`)
	smtp.WaitFor(t, "bob@acme.example")
	c.want(t, http.StatusAccepted, "POST", "/api/security-pack", `{"name": "Eve", "email": "eve@other.example", "company": "Other", "documents": ["dpa"]}`)
	smtp.WaitFor(t, "eve@other.example")
	c.want(t, http.StatusAccepted, "POST", "/api/password/forgot", `{"workspace": "acme", "email": "ann@acme.example"}`)
	smtp.WaitFor(t, "ann@acme.example")
	for _, path := range []string{"/", "/api/docs/", "/api/redoc/", "/api/schema/", "/api/audit/checkpoint", "/api/compliance/dpa?format=pdf", "/metrics", "/readyz"} {
		c.want(t, http.StatusOK, "GET", path, "")
	}
}
