package pg

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// control ends a connection when what was sent is not acknowledged in time: keep-alives are not sent meanwhile, and without it
// a dead network is noticed after a quarter of an hour.
func control(network, _ string, conn syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
