//go:build !linux

package pg

import "syscall"

// control has nothing to set where there is no TCP_USER_TIMEOUT.
func control(_, _ string, _ syscall.RawConn) error { return nil }
