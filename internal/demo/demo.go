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
)

// Options is what to play, and where.
type Options struct {
	URL      string        // of the running server, such as http://127.0.0.1:8080
	File     string        // "" for the built-in sample, "-" for In
	In       io.Reader     // read when File is "-"
	Mail     string        // the folder into which the server writes its mails
	Out      io.Writer     // progress and summary
	Workers  int           // requests under way at once; 0 for 8
	Patience time.Duration // how long a request that gets no answer is sent again; 0 for two minutes
	Refusals bool          // commands that the server refuses are no error
}

// ErrDiffers says that what was read back is not what was acknowledged.
var ErrDiffers = errors.New("the server does not have what it acknowledged")

// ErrRefused says that the server refused commands of the file, and not rightly.
var ErrRefused = errors.New("the server refused commands of the file: the summary lists them")

// Run plays a file. It prints the summary that it gives, also of a run that breaks off in the middle. The file is checked first: nothing is sent of one that has a mistake.
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
	r := run{Options: o, file: file, plan: planned, tally: newTally()}
	r.client = newClient(o, r.tally)
	paths, err := r.client.paths(ctx)
	if err != nil {
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
	err = r.perform(ctx, paths)
	s := r.summary()
	if err == nil && len(s.Refused) > 0 && !o.Refusals {
		err = ErrRefused
	}
	return s, errors.Join(err, s.print(o.Out))
}

func (o *Options) complete() error {
	o.URL = strings.TrimRight(o.URL, "/")
	at, err := url.Parse(o.URL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return fmt.Errorf("%q is not the URL of a server, such as http://127.0.0.1:8080", o.URL)
	}
	if o.Workers < 0 || o.Workers > window {
		return fmt.Errorf("%d requests at once: it must be between 1 and %d", o.Workers, window)
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

// paths asks the server what it has. This is the first request, and is not sent again: there may be no server.
func (c *client) paths(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	a, err := c.try(ctx, request{method: "GET", path: "/api/schema/"}, nil)
	if err != nil {
		return nil, fmt.Errorf("no server answers at %s (start one with `make run`): %w", c.base, err)
	}
	var schema struct {
		Paths map[string]any `json:"paths"`
	}
	if a.status != http.StatusOK || json.Unmarshal(a.body, &schema) != nil || schema.Paths["/api/tasks"] == nil {
		return nil, fmt.Errorf("what answers at %s is no Kluis: GET /api/schema/ gives status %d and no schema with /api/tasks", c.base, a.status)
	}
	paths := map[string]bool{}
	for path := range schema.Paths {
		paths[path] = true
	}
	return paths, nil
}

// run is one play from sign-up to check.
type run struct {
	Options
	file       source
	plan       plan
	client     *client
	tally      *tally
	stage      *stage
	workspaces []*workspace
	took       time.Duration // of the actions alone
	found      map[*workspace]Found
}

func (r *run) perform(ctx context.Context, paths map[string]bool) error {
	fmt.Fprintf(r.Out, "Playing %s on %s: actions %s, workspaces %s, people %s\n",
		r.file.name, r.URL, thousands(r.plan.actions), thousands(len(r.plan.orgs)), thousands(r.plan.people()))
	byOrg := map[string]*workspace{}
	for _, o := range r.plan.orgs { // all of them first: the server may limit how many there may be
		w, err := r.stage.open(ctx, o)
		if err != nil {
			return err
		}
		r.workspaces = append(r.workspaces, w)
		byOrg[o.name] = w
	}
	people := newProgress(r.Out, "people", r.plan.people())
	defer people.stop()
	for _, w := range r.workspaces {
		if err := r.stage.gather(ctx, w, people.step); err != nil {
			return err
		}
	}
	actions := newProgress(r.Out, "actions", r.plan.actions)
	defer actions.stop()
	start := time.Now()
	p := player{client: r.client, tally: r.tally, paths: paths, workspaces: byOrg, each: actions.step}
	err := p.play(ctx, r.file)
	r.took = time.Since(start)
	if err != nil {
		return err
	}
	return r.readBack(ctx)
}

func (r *run) readBack(ctx context.Context) (differs error) {
	r.found = map[*workspace]Found{}
	for _, w := range r.workspaces {
		found, err := r.client.check(ctx, w)
		if err != nil {
			return fmt.Errorf("org %q: %w", w.plan.name, err)
		}
		r.found[w] = found
		if len(found.Wrong) > 0 {
			differs = ErrDiffers
		}
	}
	return differs
}
