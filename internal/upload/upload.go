// Package upload is a client of POST /api/import: it sends a file to a running server and follows the import to its end.
package upload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"path/filepath"
	"time"
)

// File is what to import, and into which workspace.
type File struct {
	Server string // URL of the server
	Token  string // of the member who imports, in the workspace
	Name   string
	Bytes  io.Reader

	Format, Source, Org string
	Mapping             map[string]string
}

// Import is the state of an import: the part of the answer of GET /api/import/{id} that a client needs.
type Import struct {
	ID      string `json:"id"`
	Status  string `json:"status"` // waiting, done, failed
	Failure string `json:"failure"`
	Counts  struct {
		Actions  int            `json:"actions"`
		Played   map[string]int `json:"played"`
		Repeated int            `json:"repeated"`
		Rejected int            `json:"rejected"`
		People   int            `json:"people"`
	} `json:"counts"`
	Rejects []Reject `json:"rejects"`
}

// Reject is a line that cannot be imported. Line counts from 1.
type Reject struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// Refused is a refusal of the server (RFC 9457).
type Refused struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Errors []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

func (r *Refused) Error() string {
	text := fmt.Sprintf("the server refuses: %s (%d %s)", r.Detail, r.Status, r.Code)
	for _, e := range r.Errors {
		text += fmt.Sprintf("; %s %s", e.Pointer, e.Detail)
	}
	return text
}

const (
	pause    = 500 * time.Millisecond
	patience = 2 * time.Minute // without an answer of the server
)

// Run sends the file and waits for the end of the import. It calls progress with each state. A Run that was broken off may be repeated:
// what was imported is not imported twice.
func Run(ctx context.Context, f File, progress func(Import)) (Import, error) {
	i, err := f.send(ctx)
	if err != nil {
		return i, err
	}
	for since := time.Now(); ; {
		if progress != nil {
			progress(i)
		}
		if i.Status != "waiting" {
			return i, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return i, ctx.Err()
		}
		now, err := f.get(ctx, i.ID)
		refused, is := errors.AsType[*Refused](err)
		switch {
		case err == nil:
			i, since = now, time.Now()
		case is && refused.Status < 500 && refused.Status != http.StatusTooManyRequests, time.Since(since) > patience:
			return i, err
		}
	}
}

// send sends the file as a form, in constant memory.
func (f File) send(ctx context.Context) (Import, error) {
	query := url.Values{"format": {f.Format}}
	for name, value := range map[string]string{"source": f.Source, "org": f.Org} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(f.Mapping) > 0 {
		mapping, err := json.Marshal(f.Mapping)
		if err != nil {
			return Import{}, err
		}
		query.Set("mapping", string(mapping))
	}
	body, to := io.Pipe()
	form := multipart.NewWriter(to)
	go func() {
		part, err := form.CreateFormFile("file", filepath.Base(f.Name))
		if err == nil {
			_, err = io.Copy(part, f.Bytes)
		}
		to.CloseWithError(errors.Join(err, form.Close()))
	}()
	defer body.Close()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.Server+"/api/import?"+query.Encode(), body)
	if err != nil {
		return Import{}, err
	}
	request.Header.Set("Content-Type", form.FormDataContentType())
	return f.do(request, http.StatusAccepted)
}

func (f File) get(ctx context.Context, id string) (Import, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.Server+"/api/import/"+url.PathEscape(id), nil)
	if err != nil {
		return Import{}, err
	}
	return f.do(request, http.StatusOK)
}

func (f File) do(request *http.Request, want int) (i Import, err error) {
	request.Header.Set("Authorization", "Bearer "+f.Token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return i, fmt.Errorf("ask the server: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<20))
	if err != nil {
		return i, fmt.Errorf("read the server's answer: %w", err)
	}
	if answer.StatusCode != want {
		refused := &Refused{Status: answer.StatusCode}
		_ = json.Unmarshal(text, refused) // the answer of a proxy is no problem document
		return i, refused
	}
	err = json.NewDecoder(bytes.NewReader(text)).Decode(&i)
	return i, err
}
