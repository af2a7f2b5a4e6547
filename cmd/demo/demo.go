package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const maxWorkers = 1024

// Options says what to play, and where.
type Options struct {
	URL      string        // of the running server, such as http://127.0.0.1:8080
	File     string        // "" for the built-in sample, "-" for In
	In       io.Reader     // read when File is "-"
	Mail     string        // the folder into which the server writes its mails
	Out      io.Writer     // progress and summary
	Workers  int           // requests under way at once; 0 for 8, at most 1024
	Patience time.Duration // how long a request that gets no answer is sent again; 0 for two minutes
	Rejects  bool          // whether rejected lines are no error
}

// ErrDiffers says that the counts of the server and of the file differ.
var ErrDiffers = errors.New("the server does not have what the file says")

// ErrRejected says that the import rejected lines of the file.
var ErrRejected = errors.New("lines of the file cannot be imported: the summary lists them")

// Run plays a file. It prints and returns a summary, even when the run breaks off in the middle. It reads the whole file first, and sends nothing when a
// line names no org.
func Run(ctx context.Context, o Options) (Summary, error) {
	if err := o.complete(); err != nil {
		return Summary{}, err
	}
	file, err := open(o.File, o.In)
	if err != nil {
		return Summary{}, err
	}
	defer file.end() //nolint:errcheck // it was only read
	planned, err := file.read()
	if err != nil {
		return Summary{}, err
	}
	r := run{Options: o, file: file, plan: planned, client: newClient(o)}
	if err := r.client.isKluis(ctx); err != nil {
		return Summary{}, err
	}
	mails, err := openMailbox(o.Mail)
	if err != nil {
		return Summary{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go mails.watch(ctx)
	r.stage = &stage{client: r.client, mailbox: mails}
	err = r.perform(ctx)
	s := r.summary()
	if err == nil && s.Rejected > 0 && !o.Rejects {
		err = ErrRejected
	}
	return s, errors.Join(err, s.print(o.Out))
}

func (o *Options) complete() error {
	o.URL = strings.TrimRight(o.URL, "/")
	at, err := url.Parse(o.URL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return fmt.Errorf("%q is not the URL of a server, such as http://127.0.0.1:8080", o.URL)
	}
	if o.Workers < 0 || o.Workers > maxWorkers {
		return fmt.Errorf("%d requests at once: it must be between 1 and %d", o.Workers, maxWorkers)
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return nil
}

// isKluis checks that the server is a Kluis. This is the first request. It is not repeated, because there may be no server.
func (c *client) isKluis(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	a, err := c.try(ctx, request{method: "GET", path: "/api/schema/"}, nil)
	if err != nil {
		return fmt.Errorf("no server answers at %s (start one with `make run`): %w", c.base, err)
	}
	var schema struct {
		Paths map[string]any `json:"paths"`
	}
	if a.status != http.StatusOK || json.Unmarshal(a.body, &schema) != nil || schema.Paths["/api/import"] == nil {
		return fmt.Errorf("the server at %s is no Kluis: GET /api/schema/ gives status %d and no schema with /api/import", c.base, a.status)
	}
	return nil
}

// run is one play from sign-up to check.
type run struct {
	Options
	file       source
	plan       plan
	client     *client
	stage      *stage
	workspaces []*workspace
	took       time.Duration // of the imports only
}

func (r *run) perform(ctx context.Context) error {
	fmt.Fprintf(r.Out, "Playing %s on %s: actions %s, workspaces %s, people %s\n",
		r.file.name, r.URL, thousands(r.plan.actions), thousands(len(r.plan.orgs)), thousands(r.plan.people()))
	for _, o := range r.plan.orgs { // all sign-ups come first, because the server may limit them
		w, err := r.stage.open(ctx, o)
		if err != nil {
			return err
		}
		r.workspaces = append(r.workspaces, w)
	}
	people := newProgress(r.Out, "people", r.plan.people())
	defer people.stop()
	for _, w := range r.workspaces {
		if err := r.stage.gather(ctx, w, people); err != nil {
			return err
		}
	}
	if err := r.importAll(ctx); err != nil {
		return err
	}
	return r.compare(ctx)
}

// importAll imports the histories of all workspaces, several at once.
func (r *run) importAll(ctx context.Context) error {
	actions := newProgress(r.Out, "actions", r.plan.actions)
	defer actions.stop()
	start := time.Now()
	defer func() { r.took = time.Since(start) }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.Workers)
	for _, w := range r.workspaces {
		group.Go(func() (err error) {
			w.imported, err = r.importHistory(ctx, w, actions)
			return err
		})
	}
	return group.Wait()
}

// compare compares the counts of the file with those of the lists of each workspace.
func (r *run) compare(ctx context.Context) (differs error) {
	for _, w := range r.workspaces {
		rejected := map[int]bool{}
		for _, reject := range w.rejects() {
			rejected[reject.Line] = true
		}
		wanted, err := r.file.count(w.plan.name, rejected)
		if err != nil {
			return err
		}
		if w.found, err = r.client.count(ctx, w); err != nil {
			return fmt.Errorf("org %q: %w", w.plan.name, err)
		}
		if w.differences = wanted.differences(w.found); len(w.differences) > 0 {
			differs = ErrDiffers
		}
	}
	return differs
}
