package projections

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/eventstore"
)

// Two gigabytes of events are replayed, folded and rebuilt in the memory of a small machine, since pages are weighed; with -short half of one, which is twice of
// what it may have. It does not
// run in parallel: the memory measured is that of the whole process.
func TestMemory(t *testing.T) {
	const things, size, most = 50, 200_000, 256 << 20
	events := 10_000
	if testing.Short() {
		events = 2_500
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as in the program
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	for i := range things {
		p.task(t, by, fmt.Sprint(i))
	}
	p.admin(t, fmt.Sprintf(`insert into %[1]s.event (position, id, stream, version, type, at, actor, data, size)
		select h.position + n, gen_random_uuid(), t.stream, 2 + (n - 1) %% %[3]d, 'task.updated', now(), $1, json_build_object('description', repeat('0123456789', %[4]d)), %[4]d * 10
		from %[1]s.head h, generate_series(1, %[2]d) n
		join (select stream, row_number() over (order by position) - 1 as number from %[1]s.event where stream like 'task-%%') t on t.number = (n - 1) / %[3]d`,
		w.Schema(), events, events/things, size/10), by.Member)
	p.admin(t, fmt.Sprintf(`update %[1]s.head set position = last.position, last = last.id, at = last.at
		from (select position, id, at from %[1]s.event order by position desc limit 1) as last`, w.Schema()))
	replayed := 0
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"replay", func() error {
			_, err := p.store.Each(t.Context(), w, 0, func(eventstore.Record) error { replayed++; return nil })
			return err
		}},
		{"catch-up", func() error {
			for {
				if mark, err := p.CatchUp(t.Context(), w); err != nil || mark.Behind() == 0 {
					return err
				}
			}
		}},
		{"rebuild", func() error { _, err := p.Rebuild(t.Context(), w, nil); return err }},
	} {
		runtime.GC() // of before
		begun := time.Now()
		peak := watchMemory()
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		highest := peak()
		t.Logf("%s: %s, %d MB at most", c.name, time.Since(begun).Round(time.Millisecond), highest>>20)
		if highest > most {
			t.Errorf("%s took %d MB, want %d at most", c.name, highest>>20, most>>20)
		}
	}
	if want := events + things + 2; replayed != want {
		t.Errorf("%d events were replayed, want %d", replayed, want)
	}
	tasks, _, err := p.ListTasks(t.Context(), by, TaskFilter{}, Page{Limit: 1})
	if err != nil || len(tasks) == 0 || len(tasks[0].Description) != size || tasks[0].Version != 1+events/things {
		t.Errorf("%d tasks, %v", len(tasks), err)
	}
}

// watchMemory samples what the process has from the system until the function it gives is called, which tells the highest.
func watchMemory() (highest func() uint64) {
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		for {
			samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
			metrics.Read(samples)
			peak = max(peak, samples[0].Value.Uint64()-samples[1].Value.Uint64())
			select {
			case <-stop:
				done <- peak
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(stop); return <-done }
}
