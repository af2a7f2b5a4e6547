package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kluis-eu/kluis/internal/upload"
)

// history gives the input for the import of a workspace: a line about each person, and then the lines of the file, empty for those of another org. So
// line n of the file is the n-th line after the people.
func (s source) history(w *workspace) io.ReadCloser {
	read, write := io.Pipe()
	go func() {
		to := bufio.NewWriter(write)
		err := writeHistory(to, s, w)
		write.CloseWithError(errors.Join(err, to.Flush()))
	}()
	return read
}

func writeHistory(to *bufio.Writer, s source, w *workspace) error {
	people := json.NewEncoder(to)
	for name, local := range w.locals {
		err := people.Encode(map[string]string{"do": "person", "actor": name, "name": fullName(name), "email": w.email(local)})
		if err != nil {
			return err
		}
	}
	for text, err := range s.lines() {
		if err != nil {
			return err
		}
		if len(text) > 0 {
			a, err := parse(text)
			if err != nil {
				return err
			}
			if a.Org == w.plan.name {
				if _, err := to.Write(text); err != nil {
					return err
				}
			}
		}
		if err := to.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// importHistory sends the history of a workspace, and waits for the end of its import. After a lost answer it sends the history again, because an import
// plays nothing twice.
func (r *run) importHistory(ctx context.Context, w *workspace, actions *progress) (upload.Import, error) {
	told := 0
	progress := func(i upload.Import) {
		if more := i.Counts.Actions - told; more > 0 {
			told = i.Counts.Actions
			actions.add(more)
		}
	}
	for giveUp := time.Now().Add(r.Patience); ; {
		history := r.file.history(w)
		done, err := upload.Run(ctx, upload.File{Server: r.URL, Token: w.admin.token, Name: "history.ndjson", Bytes: history, Format: "tracker", Source: "demo"}, progress)
		history.Close()
		refused, is := errors.AsType[*upload.Refused](err)
		switch {
		case err == nil && done.Status != "done":
			return done, fmt.Errorf("org %q: the import %s: %s", w.plan.name, done.Status, done.Failure)
		case err == nil:
			return done, nil
		case is && refused.Status < 500 && refused.Status != http.StatusTooManyRequests || ctx.Err() != nil || time.Now().After(giveUp):
			return done, fmt.Errorf("org %q: import its history: %w", w.plan.name, err)
		}
		r.client.sentAgain("import: no answer")
		if err := sleep(ctx, time.Second); err != nil {
			return done, err
		}
	}
}
