package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// mailbox finds codes in the folder into which a server without SMTP writes its mails. It reads only mails that came after it was opened, and leaves every
// file where it is. The server renames a mail to .eml when it is complete.
type mailbox struct {
	dir string

	mu    sync.Mutex
	seen  map[string]bool   // file names
	codes map[string]string // by address, the newest
	news  chan struct{}     // closed when codes has grown, and replaced
	err   error             // the folder cannot be read any more
}

// How long to wait for a mail. Until the first mail has come, the folder may be the wrong one. A later mail may take three minutes, when the server was
// killed while it wrote the mail and tries again.
const (
	firstMail = 30 * time.Second
	nextMail  = 5 * time.Minute
)

func openMailbox(dir string) (*mailbox, error) {
	m := &mailbox{dir: dir, seen: map[string]bool{}, codes: map[string]string{}, news: make(chan struct{})}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no folder %s: --mail must be the folder into which the server writes its mails, which is mail/ "+
			"in its KLUIS_DATA; the demo finds no codes when the server sends mails through KLUIS_SMTP_URL", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the codes in the server's mails: %w", err)
	}
	for _, e := range entries {
		m.seen[e.Name()] = true
	}
	return m, nil
}

// watch looks for new mails until ctx ends.
func (m *mailbox) watch(ctx context.Context) {
	for sleep(ctx, 50*time.Millisecond) == nil {
		entries, err := os.ReadDir(m.dir)
		m.readCodes(entries, err)
	}
}

func (m *mailbox) readCodes(entries []os.DirEntry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := 0
	for _, e := range entries { // in the order of their names, which is the order of their times
		if m.seen[e.Name()] || filepath.Ext(e.Name()) != ".eml" {
			continue
		}
		m.seen[e.Name()] = true
		// an unreadable file is no mail of ours; code reports a mail that does not come
		if to, code, err := readMail(filepath.Join(m.dir, e.Name())); err == nil && code != "" {
			m.codes[to] = code
			found++
		}
	}
	if m.err = err; found > 0 || err != nil {
		close(m.news)
		m.news = make(chan struct{})
	}
}

// code waits for the code that was mailed to an address.
func (m *mailbox) code(ctx context.Context, address string) (string, error) {
	start := time.Now()
	for {
		m.mu.Lock()
		code, there := m.codes[address]
		err, news, patience := m.err, m.news, nextMail
		if len(m.codes) == 0 {
			patience = firstMail
		}
		m.mu.Unlock()
		switch {
		case there:
			return code, nil
		case err != nil:
			return "", fmt.Errorf("read the codes in the server's mails: %w", err)
		}
		select {
		case <-news:
		case <-time.After(patience - time.Since(start)):
			return "", fmt.Errorf("no mail to %s came to %s in %s: does the server write its mails there?", address, m.dir, patience)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func readMail(path string) (to, code string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer file.Close()
	message, err := mail.ReadMessage(file)
	if err != nil {
		return "", "", err
	}
	address, err := mail.ParseAddress(message.Header.Get("To"))
	if err != nil {
		return "", "", err
	}
	code, err = findCode(message)
	return address.Address, code, err
}

// A code stands alone on an indented line.
var codeLine = regexp.MustCompile(`(?m)^ +([0-9]{6})\r?$`)

// findCode finds the code in the plain text of a mail (RFC 2045), which may be a part of a multipart.
func findCode(m *mail.Message) (string, error) {
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return codeIn(m.Body, m.Header.Get("Content-Transfer-Encoding"))
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return "", err
		}
		if kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind == "text/plain" {
			return codeIn(part, part.Header.Get("Content-Transfer-Encoding"))
		}
	}
}

func codeIn(body io.Reader, encoding string) (string, error) {
	if strings.EqualFold(encoding, "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		return "", err
	}
	found := codeLine.FindSubmatch(text)
	if found == nil {
		return "", errors.New("there is no code in it")
	}
	return string(found[1]), nil
}
