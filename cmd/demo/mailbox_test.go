package demo

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kluis-eu/kluis/internal/mail"
)

// writeMail writes a mail into the folder as the server does.
func writeMail(t *testing.T, dir, template, language, to, code string) {
	t.Helper()
	sender, err := mail.NewSender("", dir, "kluis@example.org", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = sender.Send(t.Context(), mail.Message{Template: template, To: to, Language: language,
		Values: map[string]string{"Workspace": "Größe 123456 ★ " + strings.Repeat("long ", 30), "Code": code, "Name": "654321"}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCodesOfRealMails(t *testing.T) {
	dir := t.TempDir()
	writeMail(t, dir, "signup_code", "en", "old@x.demo.example", "111111")
	m, err := openMailbox(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go m.watch(ctx)
	for _, template := range []string{"signup_code", "invitation_code"} {
		for _, language := range []string{"en", "fr", "nl"} {
			to := language + "." + template + "@x.demo.example"
			writeMail(t, dir, template, language, to, "048213")
			if code, err := m.code(ctx, to); code != "048213" || err != nil {
				t.Errorf("%s in %s: %q, %v", template, language, code, err)
			}
		}
	}
	// an incomplete mail, a mail of another kind and an earlier mail do not count
	for name, text := range map[string]string{".unfinished-1": "To: <half@x.demo.example>\r\n\r\n    111111\r\n", "notes.eml": "hello", "plain.eml": "To: <plain@x.demo.example>\r\n\r\nyours:\r\n\r\n    222222\r\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, err := m.code(ctx, "plain@x.demo.example"); code != "222222" || err != nil {
		t.Errorf("%q, %v", code, err)
	}
	for _, address := range []string{"old@x.demo.example", "half@x.demo.example"} {
		brief, end := context.WithTimeout(ctx, 200*time.Millisecond)
		if code, err := m.code(brief, address); err == nil {
			t.Errorf("%s has the code %s", address, code)
		}
		end()
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.eml")); len(left) != 9 {
		t.Errorf("%d mails are left of 9", len(left))
	}
}

func TestNoMail(t *testing.T) {
	dir := t.TempDir()
	if _, err := openMailbox(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "KLUIS_DATA") {
		t.Error(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m, err := openMailbox(dir)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = m.code(t.Context(), "a@b.example")
		if err == nil || !strings.Contains(err.Error(), "no mail to a@b.example came to "+dir+" in 30s") {
			t.Error(err)
		}
		m.codes["other@b.example"] = "123456" // it is the right folder
		_, err = m.code(t.Context(), "a@b.example")
		if err == nil || !strings.Contains(err.Error(), "in 5m0s") || time.Since(start) != firstMail+nextMail {
			t.Error(err, time.Since(start))
		}
	})
}
