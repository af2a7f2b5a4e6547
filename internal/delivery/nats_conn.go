package delivery

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// natsDialer is a nats.CustomDialer. It does what the library does at the beginning of a connection, the greeting and the TLS handshake, so that
// what the server says inside of TLS can be checked before the library reads it.
type natsDialer struct {
	dialer
	config *tls.Config
}

// SkipTLSHandshake tells the library that the handshake is done.
func (natsDialer) SkipTLSHandshake() bool { return true }

// Dial is nats.CustomDialer.
func (d natsDialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.patience)
	defer cancel()
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	checked, err := d.greeted(ctx, conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return checked, nil
}

// greeted reads the greeting, which servers send before TLS begins, and does the handshake.
func (d natsDialer) greeted(ctx context.Context, conn net.Conn) (net.Conn, error) {
	plain := newChecked(conn)
	greeting, err := plain.line()
	if err != nil {
		return nil, err
	}
	var info struct {
		Required  bool `json:"tls_required"`
		Available bool `json:"tls_available"`
	}
	said, is := bytes.CutPrefix(greeting, []byte("INFO "))
	if !is || json.Unmarshal(said, &info) != nil {
		return nil, errNoNATS
	}
	plain.checked = slices.Clone(greeting)
	switch {
	case !d.encrypted && info.Required:
		return nil, nats.ErrSecureConnRequired
	case !d.encrypted:
		return plain, nil
	case !info.Required && !info.Available:
		return nil, nats.ErrSecureConnWanted
	case plain.in.Buffered() > 0: // it would be taken for what is said inside
		return nil, errNoNATS
	}
	encrypted := tls.Client(conn, d.config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	inside := newChecked(encrypted)
	inside.checked = plain.checked
	return inside, nil
}

// maxNATS is more than a line of a server, or a message that answers one of Kluis, ever has.
const maxNATS = 64 << 10

var errNoNATS = errors.New("it does not speak the protocol of NATS")

// checkedConn gives what a server of NATS says, once it is sure that the library can read it. The library makes room for a message of whatever size
// the server announces, and panics, in a goroutine of its own, at one that no memory has.
type checkedConn struct {
	net.Conn
	in      *bufio.Reader
	checked []byte // what was not given yet
}

func newChecked(conn net.Conn) *checkedConn {
	return &checkedConn{Conn: conn, in: bufio.NewReaderSize(conn, maxNATS)}
}

// Read is io.Reader.
func (c *checkedConn) Read(p []byte) (int, error) {
	if len(c.checked) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.checked)
	c.checked = c.checked[n:]
	return n, nil
}

// next reads a line, and the message that it announces.
func (c *checkedConn) next() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	c.checked = slices.Clone(line)
	if op, _, _ := bytes.Cut(line, []byte(" ")); !bytes.HasSuffix(op, []byte("MSG")) {
		return nil
	}
	text := string(bytes.TrimRight(line, "\r\n"))
	size, err := strconv.ParseUint(text[strings.LastIndexByte(text, ' ')+1:], 10, 31)
	if err != nil || size > maxNATS {
		return errNoNATS
	}
	message := make([]byte, size+2)
	if _, err := io.ReadFull(c.in, message); err != nil {
		return err
	}
	if !bytes.HasSuffix(message, []byte("\r\n")) {
		return errNoNATS
	}
	c.checked = append(c.checked, message...)
	return nil
}

// operations are what a server may say. The library also takes other spellings, which no server uses.
var operations = []string{"INFO ", "MSG ", "HMSG ", "PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR "}

// line reads a line, which is good until the next one is read. It has no control character, by which the library might divide it otherwise.
func (c *checkedConn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errNoNATS
	}
	if err != nil {
		return nil, err
	}
	text, ended := bytes.CutSuffix(line, []byte("\r\n"))
	known := slices.ContainsFunc(operations, func(op string) bool { return bytes.HasPrefix(line, []byte(op)) })
	if !ended || !known || bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return nil, errNoNATS
	}
	return line, nil
}
