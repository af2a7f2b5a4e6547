package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// syslog sends messages of RFC 5424 in the frames of RFC 5425. The protocol has no answers, so each batch has a connection of its own:
//
//  1. The batch is written, then the end of the stream (close_notify), and the sending half of the connection is closed.
//  2. The listener reads up to there, and closes its half. One that crashed before resets the connection.
//  3. The batch is taken when the other half ends, or says nothing for a while: some listeners wait for more that never comes.
type syslog struct {
	target  Target
	address string
	dialer  dialer
	config  *tls.Config
}

// closePatience is how long a listener has to close its half of a connection.
const closePatience = 5 * time.Second

// priority is that of a message: facility 13 (log audit), severity 6 (informational).
const priority = 13*8 + 6

func (s *syslog) Send(ctx context.Context, events []Event) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.dialer.patience)
	defer cancel()
	tcp, err := s.dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return 0, err
	}
	defer tcp.Close()
	stop := context.AfterFunc(ctx, func() { _ = tcp.SetDeadline(time.Now()) })
	defer stop()
	conn := tls.Client(tcp, s.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return 0, err
	}
	if _, err := conn.Write(s.frames(events)); err != nil {
		return 0, err
	}
	if err := errors.Join(conn.CloseWrite(), tcp.(interface{ CloseWrite() error }).CloseWrite()); err != nil {
		return 0, err
	}
	if err := awaitEnd(ctx, tcp, conn); err != nil {
		return 0, err
	}
	return len(events), nil
}

// awaitEnd reads until the listener has closed its half. What it says before, nobody asked for.
func awaitEnd(ctx context.Context, tcp net.Conn, conn *tls.Conn) error {
	if err := tcp.SetReadDeadline(time.Now().Add(closePatience)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, io.LimitReader(conn, maxAnswer))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// frames are "length message" for each event.
func (s *syslog) frames(events []Event) []byte {
	var all, one bytes.Buffer
	for _, e := range events {
		one.Reset()
		s.message(&one, e)
		all.WriteString(strconv.Itoa(one.Len()) + " ")
		all.Write(one.Bytes())
	}
	return all.Bytes()
}

// message is "<priority>1 time host app process type - line". The process is the workspace, and the type is the MSGID, of 32
// characters at most.
func (s *syslog) message(into *bytes.Buffer, e Event) {
	into.WriteString("<" + strconv.Itoa(priority) + ">1 " + e.At.UTC().Format("2006-01-02T15:04:05.000000Z07:00") + " - kluis " + s.target.Workspace + " " + e.Type[:min(len(e.Type), 32)] + " - ")
	into.Write(e.Line)
}

func (s *syslog) Close() {}
