package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// recorder answers as fast or as slowly as it likes, names tasks after their titles, and remembers the order.
type recorder struct {
	mu      sync.Mutex
	order   []string
	now     atomic.Int32
	highest int32
	refuse  string // what creates this is refused
	fail    string // what creates this gets no answer
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	now := r.now.Add(1)
	defer r.now.Add(-1)
	body, _ := io.ReadAll(q.Body)
	time.Sleep(rand.N(2 * time.Millisecond))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.highest = max(r.highest, now)
	_, title, _ := strings.Cut(string(body), `"title":"`)
	title, _, _ = strings.Cut(title, `"`)
	if title != "" && title == r.fail {
		panic(http.ErrAbortHandler)
	}
	id := title
	if title == "" {
		_, id, _ = strings.Cut(q.URL.Path, "/api/tasks/")
		id, _, _ = strings.Cut(id, "/")
	}
	if title != "" && title == r.refuse {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	if title != "" && strings.Contains(string(body), "parent_id") {
		id += " below " + strings.Split(strings.Split(string(body), `"parent_id":"`)[1], `"`)[0]
	}
	r.order = append(r.order, fmt.Sprintf("%s %s %s", q.Method, id, q.Header.Get("Idempotency-Key")))
	id, _, _ = strings.Cut(id, " ")
	fmt.Fprintf(w, `{"id":%q,"status":"open"}`, id)
}

// tree is a file of n tasks, each below the one before, with three comments on each, and their lines mixed.
func tree(n int) string {
	var b strings.Builder
	lineOf := func(do string, task int, more string) {
		b.WriteString(strings.Replace(line(do, more), `"T"`, fmt.Sprintf(`"T%d"`, task), 1) + "\n")
	}
	for i := range n {
		parent := ""
		if i%10 > 0 {
			parent = fmt.Sprintf(`,"parent":"T%d"`, i-1)
		}
		lineOf(createTask, i, fmt.Sprintf(`"title":"T%d"`, i)+parent)
		for k := range 3 {
			lineOf(addComment, rand.IntN(i+1), fmt.Sprintf(`"comment":"C%d-%d","body":"x"`, i, k))
		}
	}
	return b.String()
}

func playOn(t *testing.T, r *recorder, text string, patience time.Duration) (*player, error) {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	tally := newTally()
	s := played(text)
	plan, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{plan: plan.orgs[0], names: names{"o"}, people: map[string]*person{"p1": {"m", "t"}}, tasks: map[string]*task{}}
	p := &player{client: newClient(Options{URL: server.URL, Workers: 5, Patience: patience}, tally), tally: tally,
		workspaces: map[string]*workspace{"o": w}, each: func() {}}
	return p, p.play(t.Context(), s)
}

func TestOrder(t *testing.T) {
	const n = 300
	r := &recorder{}
	p, err := playOn(t, r, tree(n), time.Second)
	if err != nil || p.tally.Accepted != 4*n || len(r.order) != 4*n {
		t.Fatalf("%d accepted, %d done, %v", p.tally.Accepted, len(r.order), err)
	}
	made, last := map[string]bool{}, map[string]int{}
	for _, entry := range r.order {
		words := strings.Fields(entry)
		id, key := words[1], words[len(words)-1]
		var lineNumber int
		if _, err := fmt.Sscanf(key, "o/line-%d", &lineNumber); err != nil {
			t.Fatal(entry, err)
		}
		if lineNumber <= last[id] {
			t.Errorf("task %s: line %d after line %d", id, lineNumber, last[id])
		}
		last[id] = lineNumber
		if words[2] == "below" && !made[words[3]] {
			t.Errorf("before its parent: %s", entry)
		}
		made[id] = true
	}
	if r.highest > 5 || r.highest < 2 {
		t.Errorf("%d requests at once, 5 are allowed", r.highest)
	}
}

func TestWhatDependsOnARefusalIsNotSent(t *testing.T) {
	r := &recorder{refuse: "T0"}
	p, err := playOn(t, r, tree(20), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c := p.tally.Counts
	if len(c.Refused) != 1 || c.NotSent[parentRefused].Count != 9 || c.NotSent[taskRefused].Count == 0 ||
		c.Sent+total(c.NotSent) != 80 || c.Accepted != c.Sent-1 {
		t.Errorf("%+v", c)
	}
}

func TestNoAnswerEndsThePlay(t *testing.T) {
	r := &recorder{fail: "T10"}
	p, err := playOn(t, r, tree(300), 300*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "task.create: POST /api/tasks: given up:") || !strings.HasPrefix(err.Error(), "line 41,") {
		t.Error(err)
	}
	if total(p.tally.NotSent) > 0 {
		t.Errorf("what was not reached is counted as %v", p.tally.NotSent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.play(ctx, played(tree(10))); err == nil {
		t.Error("no error of a play that was ended")
	}
}
