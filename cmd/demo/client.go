package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// client talks to the server. It is safe for concurrent use.
type client struct {
	base     string
	http     *http.Client
	slots    chan struct{} // held while a request is under way, but not while it waits to be sent again
	patience time.Duration // how long a request is repeated before the demo gives up

	mu    sync.Mutex
	again map[string]int // how many requests were sent again, by reason
}

func newClient(o Options) *client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = o.Workers
	return &client{
		base: o.URL,
		http: &http.Client{Transport: transport, Timeout: time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		slots:    make(chan struct{}, o.Workers),
		patience: o.Patience,
		again:    map[string]int{},
	}
}

func (c *client) sentAgain(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again[why]++
}

// request is a request to the server.
type request struct {
	method, path string
	token        string // of the member; empty for a public operation
	key          string // Idempotency-Key; empty when the request may be repeated without one
	body         any    // becomes JSON; nil for none
	once         bool   // whether the request must not be repeated after a lost answer
}

// answer is an answer of the server.
type answer struct {
	status   int
	header   http.Header
	body     []byte
	attempts int // how often the request was sent
}

// send gives the final answer of the server, good or bad. Until there is one, it repeats the request with the same key. The error says that there was none
// within the client's patience.
func (c *client) send(ctx context.Context, r request) (answer, error) {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return answer{}, fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
	}
	start, turns := time.Now(), time.Duration(0)
	for attempt := 1; ; attempt++ {
		a, err := c.try(ctx, r, body)
		a.attempts = attempt
		why, wait := later(a, err, attempt)
		if why == "" {
			return a, nil
		}
		if ctx.Err() != nil {
			return a, ctx.Err()
		}
		if err == nil {
			err = a.problem()
		}
		if a.status == http.StatusTooManyRequests { // waiting for a limit does not use up the patience
			turns = min(turns+wait, longestTurns)
		}
		if r.once && a.status == 0 || wait > longestWait || time.Since(start)+wait > c.patience+turns {
			return a, &unansweredError{r.method, r.path, wait, err}
		}
		c.sentAgain(why)
		if err := sleep(ctx, wait); err != nil {
			return a, err
		}
	}
}

// unansweredError says that a request was given up.
type unansweredError struct {
	method, path string
	wait         time.Duration // until the next try
	last         error
}

func (e *unansweredError) Error() string {
	text := fmt.Sprintf("%s %s: given up: %s", e.method, e.path, e.last)
	if said, ok := errors.AsType[*problem](e.last); ok && said.Limit != "" {
		text += fmt.Sprintf("; the limit is %[1]s, for another %[2]s: start the server with %[1]s=off in KLUIS_LIMITS, or wait", said.Limit, e.wait.Round(time.Second))
	}
	return text
}

func (e *unansweredError) Unwrap() error { return e.last }

// try sends a request once.
func (c *client) try(ctx context.Context, r request, body []byte) (answer, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	response, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil { // an answer that was broken off counts as none
		return answer{}, err
	}
	return a, nil
}

const maxAnswer = 64 << 20 // bytes; a page of the longest tasks has half of that

// call sends r, and decodes a good answer into into, unless that is nil. A bad answer is a *problem.
func (c *client) call(ctx context.Context, r request, into any) (answer, error) {
	a, err := c.send(ctx, r)
	if err != nil {
		return a, err
	}
	if a.status >= 300 {
		return a, a.problem()
	}
	if into != nil {
		if err := json.Unmarshal(a.body, into); err != nil {
			return a, fmt.Errorf("%s %s: the answer does not have the expected form: %w", r.method, r.path, err)
		}
	}
	return a, nil
}

// problem is a refusal by the server (RFC 9457).
type problem struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
	Limit     string `json:"limit"` // the limit that was reached
	Errors    []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

// problem decodes the problem in a bad answer.
func (a answer) problem() *problem {
	p := &problem{}
	if json.Unmarshal(a.body, p) != nil || p.Code == "" {
		p.Code = http.StatusText(a.status)
	}
	p.Status = a.status
	return p
}

func (p *problem) Error() string {
	text := fmt.Sprintf("%d %s", p.Status, p.Code)
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	for _, e := range p.Errors {
		text += fmt.Sprintf("; %s %s", e.Pointer, e.Detail)
	}
	if p.Status >= 500 {
		text += " (request " + p.RequestID + ")"
	}
	return text
}

// refused tells whether err is a refusal with a code.
func refused(err error, code string) bool {
	var p *problem
	return errors.As(err, &p) && p.Code == code
}
