package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Witness is a service of somebody else that cosigns the checkpoints of a log as long as each goes on from the one before
// (C2SP tlog-witness). It keeps one size and one root of each log that it knows.
type Witness struct {
	url    string
	key    cosigner
	client *http.Client
}

const (
	witnessPatience = 10 * time.Second // for one answer of a witness
	witnessSays     = 64 << 10         // bytes of an answer that are read at most
)

// ParseWitness reads "<URL> <verifier key>": where add-checkpoint is below, and the key of its cosignatures (C2SP signed-note, vkey, of the
// type 4: Ed25519, cosignature/v1).
func ParseWitness(text string) (*Witness, error) {
	at, vkey, found := strings.Cut(strings.TrimSpace(text), " ")
	if !found {
		return nil, errors.New("expected a URL, a space, and a verifier key")
	}
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("expected an absolute http or https URL, without user, query or fragment")
	}
	key, err := parseCosigner(strings.TrimSpace(vkey))
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // a proxy that the environment names is heeded
	transport.MaxIdleConnsPerHost, transport.DisableCompression = 1, true
	return &Witness{strings.TrimRight(u.String(), "/"), key, &http.Client{
		Transport: transport, Timeout: witnessPatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name is that of the witness' key.
func (w *Witness) Name() string { return w.key.name }

// ID is the hash of the witness' name and key, 8 hex digits.
func (w *Witness) ID() string { return fmt.Sprintf("%08x", w.key.hash) }

// OtherSizeError says that a witness knows a log at another size than the one from which a proof begins. Nothing has changed there.
type OtherSizeError struct {
	Witness string
	Size    int64 // that it knows
}

// Error is error's.
func (e *OtherSizeError) Error() string {
	return fmt.Sprintf("the witness %s knows the log at %d", e.Witness, e.Size)
}

// RefusedError is any other answer of a witness that is no cosignature.
type RefusedError struct {
	Witness string
	Status  int    // of HTTP
	Says    string // its answer, shortened
}

// Error is error's. It says what each status means (C2SP tlog-witness).
func (e *RefusedError) Error() string {
	means := map[int]string{
		http.StatusNotFound:            "it does not know the log: give it what `kluis log-list` prints",
		http.StatusForbidden:           "it knows no key that signs for the log: give it what `kluis log-list` prints",
		http.StatusUnprocessableEntity: "what it has cosigned is not the beginning of the log",
	}[e.Status]
	if means == "" {
		means = "expected a cosignature"
	}
	return fmt.Sprintf("the witness %s answers %d, %q: %s", e.Witness, e.Status, e.Says, means)
}

// SilentError says that a witness did not answer.
type SilentError struct {
	Witness string
	Err     error
}

// Error is error's.
func (e *SilentError) Error() string {
	return "the witness " + e.Witness + " does not answer: " + e.Err.Error()
}

// Unwrap is for errors.Is.
func (e *SilentError) Unwrap() error { return e.Err }

// Cosign has the witness cosign a signed checkpoint, with the proof that the log goes on from the old records. The cosignature is verified.
// The errors are *OtherSizeError, *RefusedError and *SilentError, and any other when what it gives is no cosignature.
func (w *Witness) Cosign(ctx context.Context, signed []byte, growth string) (Cosigned, error) {
	status, says, err := w.ask(ctx, growth)
	if err != nil {
		return Cosigned{}, err
	}
	switch status {
	case http.StatusOK:
		c, err := w.open(append(bytes.Clone(signed), says...))
		c.Note = c.WithCosignatures(signed, c) // and nothing else that it answered
		return c, err
	case http.StatusConflict:
		size, err := strconv.ParseInt(strings.TrimSuffix(string(says), "\n"), 10, 64)
		if err == nil && size >= 0 {
			return Cosigned{}, &OtherSizeError{w.Name(), size}
		}
	}
	return Cosigned{}, &RefusedError{w.Name(), status, shortened(says)}
}

// Known asks at which size a witness knows the log of a signed checkpoint of two records or more, and changes nothing there: a proof that
// begins with one record, and has no hashes, holds for no log.
func (w *Witness) Known(ctx context.Context, signed []byte) (size int64, err error) {
	_, err = w.Cosign(ctx, signed, Growth(1, nil, signed))
	var other *OtherSizeError
	var refused *RefusedError
	switch {
	case err == nil:
		return 0, fmt.Errorf("the witness %s cosigns what is not proven", w.Name())
	case errors.As(err, &other):
		return other.Size, nil
	case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
		return 1, nil
	}
	return 0, err
}

func (w *Witness) ask(ctx context.Context, growth string) (status int, says []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/add-checkpoint", strings.NewReader(growth))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("User-Agent", "kluis")
	answer, err := w.client.Do(request)
	if err != nil {
		return 0, nil, &SilentError{w.Name(), err}
	}
	defer answer.Body.Close()
	says, err = io.ReadAll(io.LimitReader(answer.Body, witnessSays))
	if err != nil {
		return 0, nil, &SilentError{w.Name(), err}
	}
	return answer.StatusCode, says, nil
}

// shortened is an answer as an error shows it.
func shortened(says []byte) string {
	const most = 100
	text := strings.ToValidUTF8(strings.TrimSpace(string(says[:min(len(says), most)])), "")
	return text
}

// open verifies a signed checkpoint with the witness' cosignature among its lines. Lines of other keys are passed over.
func (w *Witness) open(signed []byte) (c Cosigned, err error) {
	opened, err := note.Open(signed, note.VerifierList(w.key))
	if err != nil {
		return c, fmt.Errorf("the witness %s gives no cosignature: %w", w.Name(), err)
	}
	if c.Checkpoint, err = Parse([]byte(opened.Text)); err != nil {
		return c, err
	}
	sig := opened.Sigs[0]
	c.At, c.line = timeOf(sig.Base64), []byte("— "+sig.Name+" "+sig.Base64+"\n")
	c.Note = signed
	return c, nil
}
