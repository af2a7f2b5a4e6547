package eventstore_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/pg"
)

// fill appends the events from to to: the first one on the workspace's own stream, the others on some things by turns.
func (f *fixture) fill(t testing.TB, w pg.Workspace, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		stream, version := fmt.Sprintf("thing-%d", i%5), (i-1)/5
		if i == 1 {
			stream, version = first(w), 0
		} else if i%5 == 1 {
			version--
		}
		f.must(t, w, write(stream, version, fmt.Sprint("event ", i)))
	}
}

func first(w pg.Workspace) string { return "workspace-" + w.ID.String() }

// mark gives a checkpoint of the present log, as if kept elsewhere.
func (f *fixture) mark(t testing.TB, w pg.Workspace, epoch int) eventstore.Mark {
	t.Helper()
	tree := f.grow(t, w)
	root, err := f.store.Root(t.Context(), w, tree.Size)
	if err != nil {
		t.Fatal(err)
	}
	return eventstore.Mark{Name: "kept", Checkpoint: checkpoint.Checkpoint{Origin: checkpoint.NewOrigin("", w.ID, epoch), Size: tree.Size, Root: root}}
}

// renumber is SQL that moves the events behind a position by some positions, without a gap.
func renumber(behind, by int) string {
	return fmt.Sprintf(`update event set position = -position where position > %[1]d; update event set position = -position + %[2]d where position < 0;
		update head set position = position + %[2]d;`, behind, by)
}

// beside is SQL that inserts a record at a position where none belongs.
func beside(position int64) string {
	return fmt.Sprintf(`insert into event (position, id, stream, version, type, at, data, size) select %d, gen_random_uuid(), 'thing-1', 99, 'thing.done', at, '{}', 2 from head`, position)
}

const regrow = `delete from tile; update tree set size = 0;`

// Each way in which the owner of the database can change a log is a finding: against the stored tree, or, when the tree was made again from the
// changed log, against a checkpoint from elsewhere.
func TestVerifyNamesTampering(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	swap := `update event set position = -1 where position = 20; update event set position = 20 where position = 25; update event set position = 25 where position = -1;`
	insert := renumber(19, 1) + `insert into event (position, id, stream, version, type, at, data)
		select 20, gen_random_uuid(), 'thing-x', 1, 'thing.done', at, '{}' from event where position = 21;`
	for name, attack := range map[string]struct {
		sql      string
		position int64
		kind     eventstore.FindingKind
		regrown  eventstore.Finding // the finding when the tree was made again from the changed log
	}{
		"data":           {`update event set data = '{"text":"no"}' where position = 20`, 20, eventstore.Changed, eventstore.Finding{Position: 1, Kind: eventstore.Forked}},
		"white space":    {`update event set data = '{"text": "event 20"}' where position = 20`, 20, eventstore.Changed, eventstore.Finding{Position: 1, Kind: eventstore.Forked}},
		"actor":          {`update event set actor = gen_random_uuid() where position = 20`, 20, eventstore.Changed, eventstore.Finding{Position: 1, Kind: eventstore.Forked}},
		"time":           {`update event set at = at - interval '1 second' where position = 20`, 20, eventstore.Changed, eventstore.Finding{Position: 20, Kind: eventstore.Reordered}},
		"the last":       {`update event set data = '{}' where position = 50`, 50, eventstore.Changed, eventstore.Finding{Position: 1, Kind: eventstore.Forked}},
		"deleted":        {`delete from event where position = 20`, 20, eventstore.Missing, eventstore.Finding{Position: 20, Kind: eventstore.Missing}},
		"several":        {`delete from event where position in (20, 21, 40)`, 20, eventstore.Missing, eventstore.Finding{Position: 20, Kind: eventstore.Missing}},
		"moved up":       {`delete from event where position = 20;` + renumber(20, -1), 20, eventstore.Missing, eventstore.Finding{Position: 24, Kind: eventstore.Missing}},
		"inserted":       {insert, 20, eventstore.Inserted, eventstore.Finding{Position: 1, Kind: eventstore.Forked}},
		"reordered":      {swap, 20, eventstore.Reordered, eventstore.Finding{Position: 20, Kind: eventstore.Reordered}},
		"head":           {`delete from event where position <= 10`, 1, eventstore.CutHead, eventstore.Finding{Position: 1, Kind: eventstore.CutHead}},
		"head as pruned": {`delete from event where position <= 10; update head set pruned = 10`, 1, eventstore.CutHead, eventstore.Finding{}},
		"tail":           {`delete from event where position > 40`, 41, eventstore.CutTail, eventstore.Finding{Position: 41, Kind: eventstore.CutTail}},
		"tail and head row": {`delete from event where position > 40; update head set position = 40`, 41, eventstore.CutTail,
			eventstore.Finding{Position: 41, Kind: eventstore.CutTail}},
		"all":          {`delete from event`, 1, eventstore.CutHead, eventstore.Finding{Position: 1, Kind: eventstore.CutHead}},
		"all and head": {`delete from event; update head set position = 0`, 1, eventstore.CutTail, eventstore.Finding{Position: 1, Kind: eventstore.CutTail}},
		"tree":         {`update tile set hashes = overlay(hashes placing '\x00' from 5) where id >= 1::bigint << 48`, 50, eventstore.TreeLost, eventstore.Finding{}},
		"times swapped": {`update event set at = other.at from event other where (event.position, other.position) in ((20, 25), (25, 20))`, 20, eventstore.Changed,
			eventstore.Finding{Position: 21, Kind: eventstore.Reordered}},
		"size":             {`update event set size = 0 where position = 20`, 20, eventstore.Changed, eventstore.Finding{}},
		"leaves gone":      {`delete from tile where id = 0`, 1, eventstore.TreeLost, eventstore.Finding{}},
		"no head":          {`delete from head`, 0, eventstore.Changed, eventstore.Finding{}},
		"no tree":          {`delete from tree`, 0, eventstore.TreeLost, eventstore.Finding{}},
		"time of the head": {`update head set at = at + interval '1 hour'`, 50, eventstore.Changed, eventstore.Finding{}},
		"a horizon's time": {`update head set pruned_at = at`, 50, eventstore.Changed, eventstore.Finding{}},
		"before all":       {beside(math.MinInt64), math.MinInt64, eventstore.Inserted, eventstore.Finding{}},
		"before the first": {beside(-1), -1, eventstore.Inserted, eventstore.Finding{}},
		"behind the head":  {beside(51), 51, eventstore.Inserted, eventstore.Finding{}},
		"the last by name": {`update head set last = gen_random_uuid()`, 50, eventstore.Changed, eventstore.Finding{}},
		"leaf":             {`update tile set hashes = overlay(hashes placing '\x00' from 40) where id = 0`, 2, eventstore.Changed, eventstore.Finding{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := f.workspace(t)
			f.fill(t, w, 1, 50)
			expected := eventstore.Expected{First: first(w), Marks: []eventstore.Mark{f.mark(t, w, 1)}}
			if verdict := f.verify(t, w, expected); len(verdict.Findings) > 0 || verdict.Records != 50 || verdict.Marks != 1 || verdict.Root != expected.Marks[0].Root {
				t.Fatalf("before: %+v", verdict)
			}
			f.superuser(t, w, attack.sql)
			is := func(verdict eventstore.Verdict, position int64, kind eventstore.FindingKind) {
				t.Helper()
				if len(verdict.Findings) != 1 || verdict.Findings[0].Position != position || verdict.Findings[0].Kind != kind {
					t.Errorf("%v; want position %d: %s", verdict.Findings, position, kind)
				}
			}
			is(f.verify(t, w, eventstore.Expected{First: first(w), Marks: expected.Marks}), attack.position, attack.kind)
			if attack.regrown.Kind == "" {
				return
			}
			f.superuser(t, w, regrow)
			for range 2 {
				_, _ = f.store.Grow(t.Context(), w) // as far as the damage
			}
			is(f.verify(t, w, expected), attack.regrown.Position, attack.regrown.Kind)
			if _, err := f.store.Each(t.Context(), w, 1, func(eventstore.Record) error { return nil }); err == nil {
				verdict := f.verifyFile(t, f.replay(t, w), expected)
				is(verdict, attack.regrown.Position, attack.regrown.Kind)
			}
		})
	}
}

func (f *fixture) verify(t testing.TB, w pg.Workspace, e eventstore.Expected) eventstore.Verdict {
	t.Helper()
	verdict, err := f.store.Verify(t.Context(), w, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

func (f *fixture) verifyFile(t testing.TB, replay []byte, e eventstore.Expected) eventstore.Verdict {
	t.Helper()
	verdict, err := eventstore.VerifyFile(bytes.NewReader(replay), e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

func (f *fixture) replay(t testing.TB, w pg.Workspace) []byte {
	t.Helper()
	var lines []byte
	if _, err := f.store.Each(t.Context(), w, 0, func(r eventstore.Record) error {
		lines = append(r.AppendLine(lines), '\n')
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

// A file of a replay is verified without a database, and each change of the file is a finding.
func TestVerifyFile(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	f.fill(t, w, 1, 30)
	half := f.mark(t, w, 1)
	f.fill(t, w, 31, 60)
	expected := eventstore.Expected{First: first(w), Marks: []eventstore.Mark{f.mark(t, w, 1), half}}
	whole := f.replay(t, w)
	if verdict := f.verifyFile(t, whole, expected); len(verdict.Findings) > 0 || verdict.Records != 60 || verdict.Marks != 2 {
		t.Fatalf("%+v", verdict)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n")
	lines[59] += "\n"
	for name, c := range map[string]struct {
		lines    []string
		position int64
		kind     eventstore.FindingKind
	}{
		"changed":       {replaced(lines, 40, strings.Replace(lines[40], "event 41", "event 14", 1)), 31, eventstore.Forked},
		"other form":    {replaced(lines, 40, strings.Replace(lines[40], `"version":`, `"version": `, 1)), 41, eventstore.Changed},
		"broken":        {replaced(lines, 40, lines[40][:30]+"\n"), 41, eventstore.Changed},
		"half the last": {replaced(lines, 59, lines[59][:30]), 60, eventstore.Changed},
		"missing":       {slices.Delete(slices.Clone(lines), 40, 41), 41, eventstore.Missing},
		"twice":         {slices.Insert(slices.Clone(lines), 40, lines[39]), 41, eventstore.Inserted},
		"reordered":     {replaced(replaced(lines, 40, lines[43]), 43, lines[40]), 41, eventstore.Reordered},
		"head":          {lines[3:], 1, eventstore.CutHead},
		"tail":          {lines[:50], 51, eventstore.CutTail},
		"all":           {nil, 1, eventstore.CutTail},
	} {
		verdict := f.verifyFile(t, []byte(strings.Join(c.lines, "")), expected)
		if len(verdict.Findings) == 0 || verdict.Findings[0].Position != c.position || verdict.Findings[0].Kind != c.kind {
			t.Errorf("%s: %v; want position %d: %s", name, verdict.Findings, c.position, c.kind)
		}
	}
	other := eventstore.Expected{First: first(pg.Workspace{ID: uuid.New()})}
	if verdict := f.verifyFile(t, whole, other); len(verdict.Findings) != 1 || verdict.Findings[0].Kind != eventstore.Foreign {
		t.Errorf("of another workspace: %v", verdict.Findings)
	}
}

func replaced(lines []string, i int, line string) []string {
	lines = slices.Clone(lines)
	lines[i] = line
	return lines
}

// A line without an end is an error and does not fill the memory.
func TestVerifyEndlessLine(t *testing.T) {
	t.Parallel()
	if _, err := eventstore.VerifyFile(endless{}, eventstore.Expected{}, nil); err == nil || !strings.Contains(err.Error(), "a line is longer than") {
		t.Error(err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Two logs that were swapped are found by their first records, and by checkpoints, which name their workspaces.
func TestVerifySwappedLogs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a, b := f.workspace(t), f.workspace(t)
	f.fill(t, a, 1, 10)
	f.fill(t, b, 1, 12)
	marks := []eventstore.Mark{f.mark(t, a, 1)}
	f.grow(t, b)
	for table, columns := range map[string]string{"event": "position, id, stream, version, type, at, actor, meta, data", "head": "position, last, at, epoch, pruned", "tree": "size", "tile": "id, hashes"} {
		f.superuser(t, a, strings.NewReplacer("HERE", a.Schema()+"."+table, "THERE", b.Schema()+"."+table, "COLUMNS", columns).Replace(`
			create temp table other as table THERE; delete from THERE; insert into THERE (COLUMNS) select COLUMNS from HERE;
			delete from HERE; insert into HERE (COLUMNS) select COLUMNS from other; drop table other`))
	}
	for _, c := range []struct {
		expected eventstore.Expected
		kind     eventstore.FindingKind
	}{{eventstore.Expected{First: first(a)}, eventstore.Foreign}, {eventstore.Expected{Marks: marks}, eventstore.Forked}} {
		if verdict := f.verify(t, a, c.expected); len(verdict.Findings) != 1 || verdict.Findings[0].Position != 1 || verdict.Findings[0].Kind != c.kind {
			t.Errorf("%v; want %s", verdict.Findings, c.kind)
		}
	}
}

// A log that was restored from a backup is shorter than a known checkpoint, or differs from it. `kluis restored` records the restore in the
// log, and the operator confirms with --epoch that it is known.
func TestVerifyRestored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	f.fill(t, w, 1, 50)
	last := f.mark(t, w, 1)
	backup := `delete from event where position > 30; update head set position = 30, last = (select id from event where position = 30);` + regrow
	f.superuser(t, w, backup)
	f.grow(t, w)
	early := f.mark(t, w, 1)
	expected := eventstore.Expected{First: first(w), Marks: []eventstore.Mark{early, last}, Restore: func(r eventstore.Record) int {
		if r.Type == "thing.restored" {
			return 2
		}
		return 0
	}}
	if verdict := f.verify(t, w, expected); len(verdict.Findings) != 1 || verdict.Findings[0].Position != 31 || verdict.Findings[0].Kind != eventstore.CutTail {
		t.Errorf("an older backup: %v", verdict.Findings)
	}
	f.superuser(t, w, `update head set epoch = 2`)
	f.must(t, w, eventstore.Append{Writes: []eventstore.Write{{Stream: first(w), Expected: 1, Events: []eventstore.Event{{Type: "thing.restored", Data: []byte(`{}`)}}}}})
	for i := range 30 {
		f.must(t, w, write("other-1", i, "x"))
	}
	verdict := f.verify(t, w, expected)
	if len(verdict.Findings) != 1 || verdict.Findings[0].Position != 31 || verdict.Findings[0].Kind != eventstore.Restored {
		t.Errorf("restored: %v", verdict.Findings)
	}
	expected.Epoch = 2
	expected.Marks = append(expected.Marks, f.mark(t, w, 2))
	if verdict := f.verify(t, w, expected); len(verdict.Findings) != 0 || verdict.Marks != 2 || verdict.Epoch != 2 {
		t.Errorf("restored, and known: %+v", verdict)
	}
	f.afterPruning(t, w, expected)
}

// afterPruning prunes the record with which the second epoch began: of a checkpoint of the first one that does not hold, the log alone says no more
// whether that is because of the restore.
func (f *fixture) afterPruning(t *testing.T, w pg.Workspace, expected eventstore.Expected) {
	root, tree, err := f.store.Edge(t.Context(), w, 40)
	if err != nil {
		t.Fatal(err)
	}
	gone := eventstore.Pruned{UpTo: 40, Root: root, Tree: tree}
	if gone.Baselines, err = eventstore.HashBaselines(t.Context(), eventstore.Reading(f.db, w), 40); err != nil {
		t.Fatal(err)
	}
	if err := f.db.Read(t.Context(), w, pg.Exec(`select at from event where position = 40`).Scan(&gone.At)); err != nil {
		t.Fatal(err)
	}
	expected.Pruned = func(r eventstore.Record) eventstore.Pruned {
		if r.Position == 45 {
			return gone
		}
		return eventstore.Pruned{}
	}
	f.superuser(t, w, `update head set pruned = 40, pruned_at = (select at from event where position = 40); delete from event where position <= 40`)
	unknown := expected
	unknown.Epoch = 1
	for name, c := range map[string]struct {
		sql      string
		expected eventstore.Expected
		kind     eventstore.FindingKind // empty for nothing
	}{
		"known":                        {`select`, expected, ""},
		"not known":                    {`select`, unknown, eventstore.Restored},
		"an epoch that never began":    {`update head set epoch = 3`, expected, eventstore.Changed},
		"the epoch of before the last": {`update head set epoch = 1`, expected, eventstore.Changed},
	} {
		f.superuser(t, w, c.sql)
		verdict := f.verify(t, w, c.expected)
		if c.kind == "" && (len(verdict.Findings) != 0 || verdict.Marks != 2 || verdict.Epoch != 2) || c.kind != "" && (len(verdict.Findings) == 0 || verdict.Findings[0].Kind != c.kind) {
			t.Errorf("pruned, %s: %+v; want %s", name, verdict, c.kind)
		}
		f.superuser(t, w, `update head set epoch = 2`)
	}
	if verdict := f.verifyFile(t, f.replay(t, w), expected); len(verdict.Findings) != 0 || verdict.Marks != 1 || verdict.Epoch != 2 {
		t.Errorf("pruned, in a file: %+v", verdict)
	}
}
