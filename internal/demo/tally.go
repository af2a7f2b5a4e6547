package demo

import (
	"sync"
	"time"
)

// tally counts what becomes of each action. It is safe for concurrent use.
type tally struct {
	mu sync.Mutex
	Counts
	latencies histogram
}

// Counts is what became of the actions: each is in exactly one of Accepted, Refused, Rightly, NotYet and NotSent.
type Counts struct {
	Sent     int             // commands that were sent, each counted once
	Accepted int             // commands that the server carried out
	Refused  []Refusal       // commands that it did not, in no order
	Rightly  map[string]Some // commands that it had to refuse, by the reason
	NotYet   map[string]Some // actions whose noun the server or the demo does not have yet, by the noun
	NotSent  map[string]Some // actions on what was refused before, by the reason
	LeftOut  map[string]Some // fields of actions that have no place on the server, by the field
	Again    map[string]int  // requests that were sent again, by the reason; those that set the scene too
}

// Refusal is what the server had against the command of one line.
type Refusal struct {
	Line   int
	Reason string
}

// Some is a number of actions, with the first of their lines.
type Some struct {
	Count int
	Lines []int // of the first few
}

const shownLines = 5

func newTally() *tally {
	return &tally{Counts: Counts{Rightly: map[string]Some{}, NotYet: map[string]Some{},
		NotSent: map[string]Some{}, LeftOut: map[string]Some{}, Again: map[string]int{}}}
}

func (t *tally) answered(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Sent++
	t.latencies.add(took)
}

func (t *tally) accepted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Accepted++
}

func (t *tally) again(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Again[why]++
}

func (t *tally) refused(p *problem, line int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Refused = append(t.Refused, Refusal{line, p.Error()})
}

func (t *tally) rightly(why string, line int) { t.note(t.Rightly, why, line) }

func (t *tally) notYet(noun string, line int) { t.note(t.NotYet, noun, line) }

func (t *tally) notSent(why string, line int) { t.note(t.NotSent, why, line) }

func (t *tally) leftOut(field string, line int) { t.note(t.LeftOut, field, line) }

func (t *tally) note(in map[string]Some, key string, line int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := in[key]
	s.Count++
	if len(s.Lines) < shownLines {
		s.Lines = append(s.Lines, line)
	}
	in[key] = s
}

// total is how many there are of all kinds.
func total(some map[string]Some) (n int) {
	for _, s := range some {
		n += s.Count
	}
	return n
}
