package delivery

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// webhook sends one event a request, over a connection that is kept, so that the order of requests is the order of events.
type webhook struct {
	target   Target
	opened   time.Time // by the clock of this machine, which may be wrong, and whose pace is not
	patience time.Duration
	client   *http.Client
}

// maxAnswer is how much of an answer is read: enough to use the connection again after a short one.
const maxAnswer = 4 << 10

// newClient makes an HTTP client that follows no redirect, keeps no cookie, asks no proxy and unpacks nothing.
func newClient(d dialer, config *tls.Config) *http.Client {
	return &http.Client{
		Timeout:       d.patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: config, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
			DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}},
	}
}

// Sign is the webhook-signature of a message under several secrets (Standard Webhooks, "Signature scheme").
func Sign(id string, at time.Time, body []byte, secrets ...[]byte) string {
	signatures := make([]string, len(secrets))
	for i, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		_, _ = io.WriteString(mac, id+"."+strconv.FormatInt(at.Unix(), 10)+".")
		_, _ = mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}

// Secret is a secret as it is shown to whoever sets the receiver up.
func Secret(secret []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(secret) }

func (w *webhook) Send(ctx context.Context, events []Event) (int, error) {
	return each(ctx, w.patience, events, func(ctx context.Context, e Event) error {
		now := w.target.Now.Add(time.Since(w.opened))
		return post(ctx, w.client, w.target, "application/json", e.Line, map[string]string{
			"webhook-id": e.ID, "webhook-timestamp": strconv.FormatInt(now.Unix(), 10), "webhook-signature": Sign(e.ID, now, e.Line, w.target.Secrets...)})
	})
}

func (w *webhook) Close() { w.client.CloseIdleConnections() }

// post sends a body and reads whether it was taken: a 2xx.
func post(ctx context.Context, client *http.Client, t Target, media string, body []byte, headers map[string]string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be read")
	}
	request.Header.Set("Content-Type", media)
	request.Header.Set("User-Agent", "Kluis")
	request.Header.Set("Kluis-Workspace", t.Workspace)
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the URL is not told
		}
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusSwitchingProtocols { // that has no body, but the bare connection, which no timeout ends
		_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	}
	if answer.StatusCode/100 == 2 {
		return err
	}
	return &StatusError{Status: answer.StatusCode, RetryAfter: retryAfter(answer.Header.Get("Retry-After"))}
}

// retryAfter reads a Retry-After (RFC 9110, 10.2.3).
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 86_400)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), 24*time.Hour)
	}
	return 0
}
