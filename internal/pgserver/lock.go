package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock is a file that is open to be locked. The lock belongs to the open file: it ends when its last descriptor is closed, in this process
// and in those that have inherited one.
type lock struct{ f *os.File }

func (d folder) openLock(name string) (lock, error) {
	f, err := d.openPrivate(name, 0)
	return lock{f}, err
}

// try takes the lock, shared (LOCK_SH) or exclusively (LOCK_EX). It returns false when another holder is in the way. A lock that is held already is
// converted; when that fails, it may be lost (flock(2)).
func (l lock) try(how int) (bool, error) {
	for {
		err := syscall.Flock(int(l.f.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, fmt.Errorf("lock %s: %w (Kluis needs a file system with flock)", l.f.Name(), err)
		}
	}
}

// wait tries until it gets the lock or ctx ends. It polls, since a thread that blocks in flock cannot be called back.
func (l lock) wait(ctx context.Context, how int) error {
	for {
		if ok, err := l.try(how); ok || err != nil {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the lock of %s: %w", l.f.Name(), err)
		}
	}
}

// held tells whether anybody holds the lock exclusively. l itself must hold nothing.
func (l lock) held() (bool, error) {
	free, err := l.try(syscall.LOCK_SH)
	if free {
		l.release()
	}
	return !free, err
}

func (l lock) release() { _ = syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN) } // cannot fail on an open file
func (l lock) close()   { _ = l.f.Close() }                                   // nothing was written

// pause waits for d. When ctx ends first, it returns the cause of that.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
