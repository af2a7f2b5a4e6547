package pgserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can drop to another user")
	}
}

func TestRootDropsToAnotherUser(t *testing.T) {
	needRoot(t)
	dir := copied(t)
	t.Setenv("KLUIS_KEYS_INLINE", "secret")
	s := start(t, dir, Options{})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.child))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		name, ids, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case name == "Uid" && strings.Contains(ids+"\t", "\t0\t"), name == "Gid" && strings.Contains(ids+"\t", "\t0\t"), name == "Groups" && strings.TrimSpace(ids) != "":
			t.Errorf("%s:%s", name, ids)
		}
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.child))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(environment, []byte("secret")) {
		t.Error("Postgres got our environment")
	}
	for _, ours := range []string{"passwords", "lock", "users", "alive", "log"} {
		info, err := os.Stat(filepath.Join(dir, ours))
		if err != nil {
			t.Fatal(err)
		}
		if ownerOf(info) != 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, owner %d", ours, info.Mode(), ownerOf(info))
		}
	}
}

// As in a checkout under /root: no folder above the cluster is opened for it.
func TestRootInAClosedFolder(t *testing.T) {
	needRoot(t)
	t.Parallel()
	closed := openTempFolder(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "data", "pg")
	s := start(t, dir, Options{})
	exec1(t, s.SuperuserURL("postgres"), `create table kept as select 42 as n; checkpoint; select pg_reload_conf()`)
	exec1(t, s.SuperuserURL("postgres"), `create database x`)
	if got := ask[int](t, s.SuperuserURL("x"), `select 1`); got != 1 {
		t.Error(got)
	}
	if strings.HasPrefix(s.socket, closed) {
		t.Errorf("socket in %s", s.socket)
	}
	if got := closedFolder(dir); got != closed {
		t.Errorf("closedFolder says %q, want %q", got, closed)
	}
	pid := s.child
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir, Options{})
	if got := ask[int](t, again.SuperuserURL("postgres"), `select n from kept`); got != 42 {
		t.Error(got)
	}
	if !mayBeServer(pidOf(t, dir), folder(dir).cluster()) {
		t.Error("the postmaster is taken for another program")
	}
}

// A backup that root copied here belongs to root.
func TestRootCopiedTheCluster(t *testing.T) {
	needRoot(t)
	t.Parallel()
	dir := copied(t)
	if out, err := exec.Command("chown", "-R", "0:0", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := start(t, dir, Options{})
	if got := ask[int](t, s.SuperuserURL("postgres"), `select 1`); got != 1 {
		t.Error(got)
	}
}

// The whole of it as an ordinary user, and what root then may and the other way round.
func TestOrdinaryUser(t *testing.T) {
	needRoot(t)
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	home := openTempFolder(t)
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(openTempFolder(t), "test") // ours is in a folder that is closed to others
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := filepath.Join(home, "pg")
	asNobody := func() (string, error) {
		cmd := exec.Command(program, "-test.run=^$")
		cmd.Dir = "/"
		cmd.Env = []string{helperFolder + "=" + dir, "PATH=" + os.Getenv("PATH"), "HOME=" + home}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		out, err := cmd.CombinedOutput() // its input is empty: it stops at once
		return string(out), err
	}
	if out, err := asNobody(); err != nil || !strings.HasPrefix(out, "ready ") {
		t.Fatalf("%v: %s", err, out)
	}
	// Root goes on as the owner of the files, and leaves none that the owner cannot use.
	s := start(t, dir, Options{})
	if s.account.uid != uid {
		t.Errorf("root runs it as %d, and it belongs to %d", s.account.uid, uid)
	}
	stop(t, s)
	if out, err := asNobody(); err != nil || !strings.HasPrefix(out, "ready ") {
		t.Errorf("after root: %v: %s", err, out)
	}
	if err := os.Chown(filepath.Join(dir, "cluster"), 1, 1); err != nil {
		t.Fatal(err)
	}
	if out, err := asNobody(); err == nil || !strings.Contains(out, "belongs to user id 1") {
		t.Errorf("the cluster of another: %v: %s", err, out)
	}
}
