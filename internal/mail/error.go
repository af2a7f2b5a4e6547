package mail

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"

	gomail "github.com/wneessen/go-mail"
)

// SendError says where and why an SMTP server did not take a mail. Of the server's answer it keeps two numbers and not a word, because servers
// repeat the address, and River stores the text of an error. It wraps nothing, for the same reason.
type SendError struct {
	Step     string // "connect", "sender", "recipient", "content" or "end"
	Code     int    // of the answer (RFC 5321, 4.2), 0 when there was none
	Enhanced string // status code such as "5.1.1" (RFC 3463), empty when the server gives none
	Reason   string // when there was no answer: "timeout", "connection refused", ...
}

// Error is for instance "SMTP recipient: 550 5.1.1".
func (e *SendError) Error() string {
	if e.Code == 0 {
		return fmt.Sprintf("SMTP %s: %s", e.Step, e.Reason)
	}
	return strings.TrimSpace(fmt.Sprintf("SMTP %s: %d %s", e.Step, e.Code, e.Enhanced))
}

// Permanent tells whether the server refuses this recipient or this mail for good. When it refuses the connection, the password or the sender,
// that is not permanent, whatever the code: somebody may repair the settings while the mail is still useful.
func (e *SendError) Permanent() bool {
	return e.Code >= 500 && (e.Step == "recipient" || e.Step == "content")
}

// sendError keeps of a go-mail error what may be stored.
func sendError(err error) *SendError {
	var sent *gomail.SendError
	if errors.As(err, &sent) {
		return &SendError{
			Step: step(sent.Reason), Code: sent.ErrorCode(), Enhanced: sent.EnhancedStatusCode(),
			Reason: "connection lost, or no answer in time",
		}
	}
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return &SendError{Step: "connect", Code: answer.Code}
	}
	return &SendError{Step: "connect", Reason: reason(err)}
}

func step(r gomail.SendErrReason) string {
	switch r {
	case gomail.ErrConnCheck:
		return "connect"
	case gomail.ErrSMTPMailFrom:
		return "sender"
	case gomail.ErrSMTPRcptTo:
		return "recipient"
	case gomail.ErrSMTPData, gomail.ErrWriteContent, gomail.ErrSMTPDataClose:
		return "content"
	}
	return "end"
}

// reason says what went wrong on the way to the server. It names a few known causes, because another text may hold something that
// the server said.
func reason(err error) string {
	var (
		unknown *net.DNSError
		trust   *tls.CertificateVerificationError
		number  syscall.Errno
		timeout net.Error
	)
	switch {
	case errors.As(err, &unknown):
		return "host not found"
	case errors.As(err, &trust):
		return trust.Error()
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "connection closed"
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		return "the server offers no STARTTLS, and a password is only sent encrypted"
	case strings.Contains(err.Error(), "does not support SMTP AUTH"), errors.Is(err, gomail.ErrNoSupportedAuthDiscovered):
		return "the server offers no way to log in that we know"
	}
	return fmt.Sprintf("failed (%T)", err)
}
