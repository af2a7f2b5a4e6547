package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// StatusError is an answer that is not 2xx.
type StatusError struct {
	Status     int
	RetryAfter time.Duration // as the answer asks; 0 when it does not
}

func (e *StatusError) Error() string { return fmt.Sprintf("it answered %d", e.Status) }

// Gone tells that the receiver said it is no more, and wants nothing.
func Gone(err error) bool {
	status, is := errors.AsType[*StatusError](err)
	return is && status.Status == http.StatusGone
}

// RetryAfter is how long the receiver asks to be left alone.
func RetryAfter(err error) time.Duration {
	if status, is := errors.AsType[*StatusError](err); is {
		return status.RetryAfter
	}
	return 0
}

// known are errors with what they say to a person.
var known = []struct {
	err  error
	says string
}{
	{errForbidden, errForbidden.Error()},
	{context.DeadlineExceeded, fmt.Sprintf("it did not take it within %s", Patience)},
	{context.Canceled, "it was broken off"},
	{nats.ErrTimeout, fmt.Sprintf("it did not take it within %s", Patience)},
	{nats.ErrNoResponders, "no stream of JetStream takes the subject"},
	{nats.ErrNoStreamResponse, "no stream of JetStream takes the subject"},
	{nats.ErrAuthorization, "it refused the credentials"},
	{nats.ErrMaxPayload, "the event is larger than the server takes"},
	{nats.ErrSecureConnWanted, "it does not speak TLS"},
	{nats.ErrSecureConnRequired, "it takes TLS alone: the URL must begin with tls://"},
	{errNoNATS, errNoNATS.Error()},
	{nats.ErrNoServers, "it cannot be reached"},
	{syscall.ECONNREFUSED, "it refused the connection"},
	{syscall.ECONNRESET, "it broke the connection off"},
	{syscall.EPIPE, "it broke the connection off"},
	{syscall.EHOSTUNREACH, "it cannot be reached"},
	{syscall.ENETUNREACH, "it cannot be reached"},
	{io.EOF, "it closed the connection without an answer"},
	{io.ErrUnexpectedEOF, "it closed the connection within the answer"},
}

// Explain says to a person why something was not taken. It holds no path, no body, no address and no secret: nothing of the error's own
// words is in it.
func Explain(err error) string {
	if status, is := errors.AsType[*StatusError](err); is {
		switch status.Status / 100 {
		case 3:
			return status.Error() + ": redirects are not followed"
		case 4, 5:
			return status.Error()
		}
		return status.Error() + ", not 2xx"
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return k.says
		}
	}
	if timed, is := errors.AsType[net.Error](err); is && timed.Timeout() {
		return fmt.Sprintf("it did not take it within %s", Patience)
	}
	if _, is := errors.AsType[*net.DNSError](err); is {
		return "its name has no address"
	}
	return explainTLS(err)
}

func explainTLS(err error) string {
	if _, is := errors.AsType[x509.HostnameError](err); is {
		return "its certificate is for another name"
	}
	if _, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		return "its certificate is not trusted"
	}
	if _, is := errors.AsType[tls.RecordHeaderError](err); is {
		return "it does not speak TLS"
	}
	if _, is := errors.AsType[tls.AlertError](err); is {
		return "it ended the TLS connection"
	}
	if _, is := errors.AsType[*net.OpError](err); is {
		return "the connection failed"
	}
	return "its answer makes no sense"
}
