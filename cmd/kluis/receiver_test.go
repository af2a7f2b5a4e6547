package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// Of two processes the one that delivers is killed (-9), again and again under load. The receiver gets every event, and none before an earlier one. An event
// that was sent and not noted comes twice.
func TestDelivererKilled(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	var mu sync.Mutex
	var got []int64
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var event struct{ Position int64 }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, event.Position)
	}))
	t.Cleanup(hook.Close)
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(got)
	}
	allowed := "--receiver-networks=127.0.0.0/8"
	servers := []*server{h.serve(t, allowed), h.serve(t, allowed)}
	ann := servers[0].signUp(t, "acme")
	ann.want(t, http.StatusCreated, "POST", "/api/receivers", fmt.Sprintf(`{"kind": "webhook", "name": "x", "url": %q, "types": ["task.created"]}`, hook.URL))
	admin := h.superuser(t)
	for round := range 4 {
		victim, survivor := servers[round%2], servers[(round+1)%2]
		l := press(ann, survivor, 4, fmt.Sprint("round ", round))
		before := count()
		until(t, "events come", func() bool { return count() > before+50 })
		victim.kill()
		if _, err := admin.Exec(context.Background(), `update kluis.delivery set leased_until = '-infinity'`); err != nil { // what 30 s would do
			t.Fatal(err)
		}
		before = count()
		until(t, "events come again", func() bool { return count() > before+50 })
		l.end()
		servers[round%2] = h.serve(t, allowed)
	}
	var want []int64
	for line := range strings.Lines(h.must(t, "replay", "acme")) {
		var event struct {
			Position int64
			Type     string
		}
		if json.Unmarshal([]byte(line), &event) == nil && event.Type == "task.created" {
			want = append(want, event.Position)
		}
	}
	first := func() (all []int64) { // without what came again
		mu.Lock()
		defer mu.Unlock()
		for _, position := range got {
			if len(all) == 0 || position > all[len(all)-1] {
				all = append(all, position)
			}
		}
		return all
	}
	until(t, "all events have come", func() bool { return len(first()) >= len(want) })
	if all := first(); !slices.Equal(all, want) {
		t.Errorf("%d events came, want %d: something was lost, or came before an earlier one", len(all), len(want))
	}
	t.Logf("%d events, %d requests", len(want), count())
}
