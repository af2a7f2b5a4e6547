package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that Postgres runs as. Postgres refuses to run as root.
type account struct {
	uid, gid int
	drop     bool // this process is root, and its children become this user
}

// accountFor chooses the account. It is the user of this process, unless that is root. For root it is the owner of the cluster or, when there is no
// cluster yet, of the folder. When that is root, too, it is the user postgres, or nobody.
func accountFor(d folder) (account, error) {
	euid := os.Geteuid()
	info, err := os.Stat(d.cluster())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return account{}, err
	}
	there := err == nil
	if euid != 0 {
		if there && ownerOf(info) != euid {
			return account{}, fmt.Errorf("%s belongs to user id %d and this process runs as %d: run it as that user, or as root", d.cluster(), ownerOf(info), euid)
		}
		return account{uid: euid, gid: os.Getegid()}, nil
	}
	if !there {
		if info, err = os.Stat(string(d)); err != nil {
			return account{}, err
		}
	}
	if ownerOf(info) != 0 {
		st := info.Sys().(*syscall.Stat_t)
		return account{uid: int(st.Uid), gid: int(st.Gid), drop: true}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return dropTo(u)
		}
	}
	return account{}, errors.New("this process runs as root, which Postgres refuses, and there is neither a user postgres nor a user nobody to run it as: run kluis as an ordinary user")
}

func dropTo(u *user.User) (account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil || uid == 0 {
		return account{}, fmt.Errorf("user %s has the id %q", u.Username, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, fmt.Errorf("user %s has the group id %q", u.Username, u.Gid)
	}
	return account{uid: uid, gid: gid, drop: true}, nil
}

// command prepares a program of Postgres. The program gets a session of its own, so that ^C in the terminal does not reach it. It gets none of this
// process' environment, which may have keys, and where PGDATA and its like would steer it. It begins in the root folder, because
// this process' folder may be closed to it.
func (a account) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if a.drop {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)} // and no further groups
	}
	return cmd
}

// give makes the account the owner of a file that this process has made.
func (a account) give(path string) error {
	if !a.drop {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// giveTree makes the account the owner of a whole cluster, as when root has copied it there from a backup. Symbolic links are not followed.
func (a account) giveTree(root string) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return a.give(path)
	})
}

// reaches tells whether the account gets into dir, by running a harmless program there. Permission bits alone do not tell, because there are
// access lists and security modules as well.
func (a account) reaches(ctx context.Context, postgres, dir string) bool {
	if !a.drop {
		return true
	}
	cmd := a.command(postgres, "--version")
	cmd.Dir = dir
	return run(ctx, cmd) == nil
}

// closedFolder is the first folder on the way to dir that others may not pass, for an error that helps.
func closedFolder(dir string) string {
	var closed string
	for at := dir; at != "/" && at != "."; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.Mode().Perm()&0o001 == 0 {
			closed = at
		}
	}
	return closed
}

// run runs a command to its end. When ctx ends first, the command and its children are killed.
func run(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}
