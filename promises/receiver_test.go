package promises

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/delivery"
	"github.com/kluis-eu/kluis/internal/pg"
)

// loopback is where the receivers of tests are.
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// receiving makes a site whose processes reach receivers on this machine, and n processes with the background.
func receiving(t testing.TB, n int) []*process {
	t.Helper()
	s := newSite(t)
	s.outside = delivery.NewOutside(loopback)
	for range n {
		s.newProcess(t, true)
	}
	return s.processes
}

// hook is a webhook receiver with a certificate of its own authority.
type hook struct {
	*httptest.Server
	ca string

	mu     sync.Mutex
	taken  []eventstore.Record // that were answered 200, in order
	ids    []string
	heads  []http.Header
	bodies [][]byte
	answer func(w http.ResponseWriter, r *http.Request) bool // false: it has answered itself
	more   chan struct{}
}

func newHook(t testing.TB) *hook {
	t.Helper()
	h := &hook{more: make(chan struct{}, 1)}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(h.serve))
	h.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	h.mu.Lock()
	answer := h.answer
	h.mu.Unlock()
	if answer != nil && !answer(w, r) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for line := range strings.Lines(string(body)) {
		var record struct {
			Position int64
			Type     string
			At       time.Time
			Data     json.RawMessage
		}
		if json.Unmarshal([]byte(line), &record) == nil {
			h.taken = append(h.taken, eventstore.Record{Position: record.Position, Type: record.Type, At: record.At, Data: record.Data})
		}
	}
	h.ids, h.heads, h.bodies = append(h.ids, r.Header.Get("webhook-id")), append(h.heads, r.Header.Clone()), append(h.bodies, body)
	select {
	case h.more <- struct{}{}:
	default:
	}
}

// answers has requests answered by fn from now on.
func (h *hook) answers(fn func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = fn
}

// status has requests answered with a status from now on; 200 takes them again.
func (h *hook) status(status int) {
	h.answers(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		return status == http.StatusOK
	})
}

// until waits until what was taken is as wanted.
func (h *hook) until(t testing.TB, what string, enough func([]eventstore.Record) bool) []eventstore.Record {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		h.mu.Lock()
		taken := slices.Clone(h.taken)
		h.mu.Unlock()
		if enough(taken) {
			return taken
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d events were taken", what, len(taken))
		}
		select {
		case <-h.more:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// upTo waits until an event at a position was taken.
func (h *hook) upTo(t testing.TB, position int64) []eventstore.Record {
	t.Helper()
	return h.until(t, fmt.Sprint("position ", position), func(taken []eventstore.Record) bool {
		return slices.ContainsFunc(taken, func(r eventstore.Record) bool { return r.Position >= position })
	})
}

type receiverState struct {
	domain.Receiver
	Secret   string
	Delivery struct {
		Position, Lag, Delivered, Skipped int64
		LagSeconds                        float64 `json:"lag_seconds"`
		Failures                          int
		Error                             string
		DeliveredAt                       *time.Time `json:"delivered_at"`
		FailingSince                      *time.Time `json:"failing_since"`
		AgainAt                           *time.Time `json:"again_at"`
		RestoredAt                        *time.Time `json:"restored_at"`
	}
}

func receiverPath(r receiverState, more ...string) string {
	return strings.Join(append([]string{"/api/receivers/" + r.ID.String()}, more...), "/")
}

// newReceiver makes a receiver of the webhook h.
func (c *client) newReceiver(t tester, h *hook, fields ...object) receiverState {
	t.Helper()
	body := object{"kind": "webhook", "name": "hook", "url": h.URL + "/hook", "ca": h.ca}
	for _, more := range fields {
		for name, value := range more {
			body[name] = value
		}
	}
	r := decode[receiverState](t, c.call(t, "POST", "/api/receivers", body).want(t, 201))
	if r.Secret != "" {
		c.site.secret(r.Secret, strings.TrimPrefix(r.Secret, "whsec_"))
	}
	return r
}

func (c *client) receiver(t tester, r receiverState) receiverState {
	t.Helper()
	return decode[receiverState](t, c.call(t, "GET", receiverPath(r), nil).want(t, 200))
}

// awaitReceiver waits until a receiver is as wanted.
func (c *client) awaitReceiver(t tester, r receiverState, what string, is func(receiverState) bool) receiverState {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got := c.receiver(t, r)
		if is(got) {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("the receiver is never %s: %+v", what, got)
		}
	}
}

// hurry has what is left alone after a failure, or leased to a process that is gone, be tried now: what time would do.
func (c *client) hurry(t tester) {
	t.Helper()
	if _, err := c.db.Pool().Exec(t.(*testing.T).Context(), `update kluis.delivery set due_at = now() where workspace_id = $1`, c.workspace.ID); err != nil {
		t.Fatal(err)
	}
}

// A webhook gets every event that it wants, in order, as replay serves it, signed so that the library of Standard Webhooks accepts it.
func TestWebhook(t *testing.T) {
	t.Parallel()
	ada := receiving(t, 1)[0].signUp(t)
	h := newHook(t)
	r := ada.newReceiver(t, h, object{"types": []string{"task.*"}})
	if !strings.HasPrefix(r.Secret, "whsec_") || r.Status != "active" {
		t.Fatalf("made %+v", r)
	}
	for i := range 20 {
		task := ada.newTask(t, object{"title": fmt.Sprint("task ", i)})
		ada.call(t, "POST", taskPath(task, "comments"), object{"body": "not wanted"}).want(t, 201)
	}
	last := ada.call(t, "POST", "/api/tasks", object{"title": "last"}).want(t, 201).position(t)
	taken := h.upTo(t, last)
	var want []int64
	lines := map[int64]string{}
	for _, record := range ada.log(t) {
		if strings.HasPrefix(record.Type, "task.") && record.Position > r.Position {
			want = append(want, record.Position)
			lines[record.Position] = string(record.AppendLine(nil))
		}
	}
	var got []int64
	for _, record := range taken {
		got = append(got, record.Position)
	}
	if !slices.Equal(got, want) {
		t.Errorf("taken %v, want %v", got, want)
	}
	verifier := must(standardwebhooks.NewWebhook(r.Secret))
	for i, body := range h.bodies {
		if string(body) != lines[got[i]] {
			t.Errorf("sent %s, and replay serves %s", body, lines[got[i]])
		}
		if err := verifier.Verify(body, h.heads[i]); err != nil {
			t.Errorf("the signature of %s: %v", h.ids[i], err)
		}
		if h.ids[i] != fmt.Sprintf("%s_1_%d", ada.workspace.ID, got[i]) {
			t.Errorf("position %d has the id %s", got[i], h.ids[i])
		}
	}
	state := ada.awaitReceiver(t, r, "at the head", func(r receiverState) bool { return r.Delivery.Lag == 0 && r.Delivery.LagSeconds == 0 })
	if state.Secret != "" || state.Delivery.Delivered != int64(len(want)) || state.Delivery.DeliveredAt == nil || state.Delivery.Error != "" {
		t.Errorf("the receiver is %+v", state)
	}
	ada.call(t, "POST", receiverPath(r, "pause"), nil).want(t, 200)
	ada.newTask(t)
	ada.call(t, "DELETE", receiverPath(r), nil).want(t, 204)
	ada.call(t, "GET", receiverPath(r), nil).problem(t, 404, "receiver_not_found")
	var rows int
	if err := ada.db.Read(t.Context(), ada.workspace, pg.Exec(`select count(*) from receiver_cursor`).Scan(&rows)); err != nil || rows != 0 {
		t.Errorf("%d cursors are left, %v", rows, err)
	}
	ada.judge(t)
	ada.noDrift(t)
}
