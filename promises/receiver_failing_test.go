package promises

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// positionsOf are those of records.
func positionsOf(records []eventstore.Record) (all []int64) {
	for _, r := range records {
		all = append(all, r.Position)
	}
	return all
}

// A receiver that answers 500 for a day gets everything afterwards, in order and without a gap; after 75 hours it is stopped, the admins
// learn it, and it goes on where it stopped.
func TestReceiverThatFails(t *testing.T) {
	t.Parallel()
	p := receiving(t, 1)[0]
	ada := p.signUp(t)
	h := newHook(t)
	h.status(500)
	r := ada.newReceiver(t, h, object{"types": []string{"task.created"}})
	var want []int64
	for range 3 {
		want = append(want, ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
	}
	state := ada.awaitReceiver(t, r, "failing", func(r receiverState) bool { return r.Delivery.Failures > 0 })
	if d := state.Delivery; d.Error != "it answered 500" || d.FailingSince == nil || d.AgainAt == nil || d.AgainAt.Before(time.Now().Add(3*time.Second)) || d.Lag < 3 || d.LagSeconds <= 0 {
		t.Errorf("failing: %+v", d)
	}
	older := func(hours int) { // what time would do
		if err := ada.db.Do(t.Context(), ada.workspace, pg.Exec(`update receiver_cursor set failing_since = failing_since - make_interval(hours => $1)`, hours)); err != nil {
			t.Fatal(err)
		}
		if err := p.db.InAsOwner(t.Context(), ada.workspace, func(tx *pg.Tx) error {
			return tx.Run(t.Context(), pg.Exec(`update receiver set resumed_at = resumed_at - make_interval(hours => $1)`, hours))
		}); err != nil {
			t.Fatal(err)
		}
	}
	older(24)
	ada.hurry(t)
	state = ada.awaitReceiver(t, r, "tried again", func(r receiverState) bool { return r.Delivery.Failures > 1 })
	if state.Status != "active" {
		t.Errorf("after a day it is %s", state.Status)
	}
	h.status(200)
	ada.hurry(t)
	if got := positionsOf(h.upTo(t, want[2])); !slices.Equal(got, want) {
		t.Errorf("taken %v, want %v", got, want)
	}
	ada.awaitReceiver(t, r, "well", func(r receiverState) bool { return r.Delivery.Failures == 0 && r.Delivery.FailingSince == nil })

	h.status(503)
	want = append(want, ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
	ada.awaitReceiver(t, r, "failing", func(r receiverState) bool { return r.Delivery.Failures > 0 })
	older(76)
	ada.hurry(t)
	state = ada.awaitReceiver(t, r, "stopped", func(r receiverState) bool { return r.Status == "stopped" })
	if state.Reason != "failing" {
		t.Errorf("stopped because of %q", state.Reason)
	}
	ada.mailed(t, "receiver_stopped")
	h.status(200)
	ada.call(t, "POST", receiverPath(r, "resume"), nil).want(t, 200)
	want = append(want, ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
	if got := positionsOf(h.upTo(t, want[4])); !slices.Equal(got, want) {
		t.Errorf("taken %v, want %v", got, want)
	}

	h.status(410)
	ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201)
	if state := ada.awaitReceiver(t, r, "gone", func(r receiverState) bool { return r.Status == "stopped" }); state.Reason != "gone" {
		t.Errorf("gone: %+v", state)
	}
	ada.judge(t)
	ada.noDrift(t)
}

// mailed waits for a mail of a template to the client.
func (c *client) mailed(t tester, template string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c.mail(t, template, c.email) != nil {
			return
		}
	}
	t.Fatalf("no mail %s", template)
}

// Fifty receivers that never answer delay nobody: not one beside them in the same workspace, and nobody elsewhere.
func TestReceiversThatHang(t *testing.T) {
	t.Parallel()
	p := receiving(t, 1)[0]
	ada, eve := p.signUp(t), p.signUp(t)
	hanging, healthy, elsewhere := newHook(t), newHook(t), newHook(t)
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	hanging.answers(func(_ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-end:
		}
		return false
	})
	for i := range 50 {
		ada.newReceiver(t, hanging, object{"name": fmt.Sprint(i)})
	}
	ada.newReceiver(t, healthy)
	eve.newReceiver(t, elsewhere)
	for range 3 {
		begun := time.Now()
		healthy.upTo(t, ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
		elsewhere.upTo(t, eve.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("beside 50 that hang it took %s", took)
		}
	}
}

// The log goes back to a backup, and later loses its beginning to retention: delivery goes on at what tells of the one, behind the other, and
// says so.
func TestReceiverWhereTheLogMoves(t *testing.T) {
	t.Parallel()
	p := receiving(t, 1)[0]
	ada := p.signUp(t)
	h := newHook(t)
	r := ada.newReceiver(t, h)
	h.upTo(t, ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
	ada.awaitReceiver(t, r, "at the head", func(r receiverState) bool { return r.Delivery.Lag == 0 })

	// What a backup has: a cursor behind the head, and an epoch that ends.
	if err := ada.db.Do(t.Context(), ada.workspace, pg.Exec(`update receiver_cursor set position = 1`)); err != nil {
		t.Fatal(err)
	}
	if _, err := commands.Restored(t.Context(), p.db, p.store, ada.workspace); err != nil {
		t.Fatal(err)
	}
	restored := ada.head(t)
	ada.enter(t, ada.logIn(t, ada.password).want(t, 200))
	last := ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t)
	taken := positionsOf(h.upTo(t, last))
	i := slices.Index(taken, restored)
	if i < 0 || !slices.IsSorted(taken[i:]) || int64(len(taken[i:])) != last-restored+1 {
		t.Errorf("after the restore %v, from %d to %d", taken, restored, last)
	}
	if state := ada.receiver(t, r); state.Delivery.RestoredAt == nil {
		t.Errorf("the receiver does not say so: %+v", state.Delivery)
	}
	h.mu.Lock()
	if id := h.ids[len(h.ids)-1]; id != fmt.Sprintf("%s_2_%d", ada.workspace.ID, last) {
		t.Errorf("the id is %s", id)
	}
	h.mu.Unlock()

	ada.call(t, "POST", receiverPath(r, "pause"), nil).want(t, 200)
	for range 5 {
		ada.newTask(t)
	}
	ada.agree(t)
	ada.prune(t)
	if err := ada.db.Do(t.Context(), ada.workspace, pg.Exec(`update receiver_cursor set position = 1`)); err != nil { // a delivery may have been under way at the pause
		t.Fatal(err)
	}
	ada.call(t, "POST", receiverPath(r, "resume"), nil).want(t, 200)
	ada.awaitReceiver(t, r, "past the horizon", func(r receiverState) bool { return r.Delivery.Skipped > 0 && r.Delivery.Lag == 0 })
}

// Replay sends once more what was sent, under the same ids.
func TestReplayToReceiver(t *testing.T) {
	t.Parallel()
	ada := receiving(t, 1)[0].signUp(t)
	h := newHook(t)
	r := ada.newReceiver(t, h, object{"types": []string{"task.created"}, "from": 1})
	first := ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t)
	second := ada.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t)
	h.upTo(t, second)
	ada.call(t, "POST", receiverPath(r, "replay"), object{"from": second + 100}).problem(t, 422, "invalid")
	ada.call(t, "POST", receiverPath(r, "replay"), object{"from": first}).want(t, 200)
	h.until(t, "the replay", func(taken []eventstore.Record) bool { return len(taken) == 4 })
	h.mu.Lock()
	defer h.mu.Unlock()
	if want := []int64{first, second, first, second}; !slices.Equal(positionsOf(h.taken), want) || h.ids[0] != h.ids[2] || h.ids[1] != h.ids[3] || h.ids[0] == h.ids[1] {
		t.Errorf("taken %v, ids %v", positionsOf(h.taken), h.ids)
	}
}

// A receiver leads nowhere inside, whoever asks; nobody has sent what they may not read; and it goes on when its maker leaves.
func TestWhoMayReceive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newProcess(t, true)
	ada := p.signUp(t)
	for url, kind := range map[string]string{"https://127.0.0.1/x": "webhook", "https://[::ffff:127.0.0.1]/x": "webhook", "https://169.254.169.254/latest": "webhook", "https://10.0.0.1/": "siem_https",
		"http://example.org/": "webhook", "tls://192.168.0.1:6514": "siem_syslog", "nats://example.org": "nats", "https://user:pass@example.org/": "webhook", "ftp://example.org": "webhook",
		"https:///x": "webhook", "https://example.org/#x": "webhook", "tls://example.org/x": "nats", "https://example.org:99999/": "webhook", "not a url": "webhook"} {
		ada.call(t, "POST", "/api/receivers", object{"kind": kind, "name": "x", "url": url}).problem(t, 422, "invalid")
	}
	for _, wrong := range []object{{"types": []string{"nothing.happened"}}, {"ca": "no certificate"}, {"subject": "x"}, {"credentials": "x"}, {"kind": "nats", "subject": "a..b"}} {
		body := object{"kind": "webhook", "name": "x", "url": "https://example.org/"}
		for name, value := range wrong {
			body[name] = value
		}
		if body["kind"] == "nats" {
			body["url"] = "tls://example.org"
		}
		ada.call(t, "POST", "/api/receivers", body).problem(t, 422, "invalid")
	}
	inside := decode[receiverState](t, ada.call(t, "POST", "/api/receivers", object{"kind": "webhook", "name": "x", "url": "https://localhost/x"}).want(t, 201))
	tested := decode[struct {
		Delivered bool
		Error     string
	}](t, ada.call(t, "POST", receiverPath(inside, "test"), nil).want(t, 200))
	if tested.Delivered || !strings.Contains(tested.Error, "none of the public internet") {
		t.Errorf("tested %+v", tested)
	}
	for _, role := range []string{"manager", "member", "viewer", "auditor", "analyst"} {
		bob := ada.member(t, role)
		bob.call(t, "GET", "/api/receivers", nil).problem(t, 403, "forbidden")
		bob.call(t, "POST", receiverPath(inside, "test"), nil).problem(t, 403, "forbidden")
	}
	role := decode[struct{ ID string }](t, ada.call(t, "POST", "/api/roles", object{"name": "plumber", "grants": []object{
		{"resource": "receiver", "action": "read", "scope": "all"}, {"resource": "receiver", "action": "create", "scope": "all"}, {"resource": "receiver", "action": "update", "scope": "all"}}}).want(t, 201))
	bob := ada.member(t, role.ID)
	bob.call(t, "POST", "/api/receivers", object{"kind": "webhook", "name": "x", "url": "https://example.org/"}).problem(t, 403, "forbidden")
	bob.call(t, "PATCH", receiverPath(inside), object{"url": "https://example.org/"}).problem(t, 403, "forbidden")
	bob.call(t, "POST", receiverPath(inside, "replay"), object{"from": 1}).problem(t, 403, "forbidden")

	open := receiving(t, 1)[0]
	ann := open.signUp(t)
	second := ann.member(t, "admin")
	h := newHook(t)
	r := second.newReceiver(t, h, object{"types": []string{"task.created"}})
	ann.call(t, "DELETE", "/api/members/"+second.id.String(), nil).want(t, 204)
	h.upTo(t, ann.call(t, "POST", "/api/tasks", object{"title": "x"}).want(t, 201).position(t))
	if tested := decode[struct{ Delivered bool }](t, ann.call(t, "POST", receiverPath(r, "test"), nil).want(t, 200)); !tested.Delivered {
		t.Error("the test was not delivered")
	}
	ann.judge(t)
}
