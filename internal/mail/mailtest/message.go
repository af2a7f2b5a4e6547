package mailtest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"regexp"
	"strings"
)

// Message is a mail as it arrived.
type Message struct {
	From string   // envelope; empty when read from a file
	To   []string // envelope; empty when read from a file

	Raw     []byte // headers and body, lines end in \r\n
	Header  mail.Header
	ID      string // Message-ID with its angle brackets
	Subject string // decoded
	Text    string // the text/plain part, decoded, lines end in \n
	HTML    string // the text/html part, decoded, lines end in \n

	Files map[string][]byte // what is attached, by name
}

var code = regexp.MustCompile(`(?m)^ +([0-9]{6})$`)

// Code is the code in the text: six digits on a line of their own. Empty when there is none.
func (m Message) Code() string {
	if found := code.FindStringSubmatch(m.Text); found != nil {
		return found[1]
	}
	return ""
}

// ReadFile reads an .eml file.
func ReadFile(path string) (Message, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Message{}, err
	}
	return Parse(raw)
}

// Parse reads a mail (RFC 5322) of the shapes that we send: multipart/alternative of text/plain and text/html, and multipart/mixed of that
// and files.
func Parse(raw []byte) (Message, error) {
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Message{}, fmt.Errorf("read mail: %w", err)
	}
	m := Message{Raw: raw, Header: parsed.Header, ID: parsed.Header.Get("Message-ID")}
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		return Message{}, fmt.Errorf("read mail: subject: %w", err)
	}
	kind, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" && kind != "multipart/mixed" {
		return Message{}, fmt.Errorf("read mail: content type %q: %w", kind, err)
	}
	return m, m.readParts(multipart.NewReader(parsed.Body, params["boundary"]))
}

func (m *Message) readParts(parts *multipart.Reader) error {
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read mail: %w", err)
		}
		var body io.Reader = part
		switch part.Header.Get("Content-Transfer-Encoding") {
		case "quoted-printable":
			body = quotedprintable.NewReader(part)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, part)
		}
		content, err := io.ReadAll(body)
		if err != nil {
			return fmt.Errorf("read mail: %w", err)
		}
		words := strings.ReplaceAll(string(content), "\r\n", "\n")
		kind, params, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if name := part.FileName(); name != "" {
			if m.Files == nil {
				m.Files = map[string][]byte{}
			}
			m.Files[name] = content
			continue
		}
		switch kind {
		case "multipart/alternative":
			if err := m.readParts(multipart.NewReader(bytes.NewReader(content), params["boundary"])); err != nil {
				return err
			}
		case "text/plain":
			m.Text = words
		case "text/html":
			m.HTML = words
		default:
			return fmt.Errorf("read mail: a part of type %q", kind)
		}
	}
}
