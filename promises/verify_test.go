package promises

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/projections"
)

// Whatever whoever owns the database does to a log, or to what stands beside it, `kluis verify` names: live, from what is in the database alone; live
// with checkpoints from elsewhere, when head, tree and read models were made to fit; and offline, in a file of the same records with the same
// checkpoints. A state that nothing gives away in one of these ways is "" there.
func TestVerifyNamesEveryState(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada, eve := p.signUp(t), p.signUp(t)
	eve.newTask(t)
	each := func(sql string) (all string) {
		for _, table := range strings.Fields("event head tree tile baseline checkpoint") {
			all += strings.ReplaceAll(sql, "TABLE", table)
		}
		return all
	}
	task := ada.newTask(t)
	rename := func(times int) int64 {
		for i := range times {
			ada.call(t, "PATCH", taskPath(task), object{"title": fmt.Sprint("name ", i)}).want(t, 200)
		}
		_, at, err := ada.commands.KeepCheckpoint(t.Context(), ada.workspace)
		if err != nil {
			t.Fatal(err)
		}
		return at.Size
	}
	half, end := rename(20), rename(20)
	ada.age(t)
	marks := ada.marks(t)
	ada.verifies(t, marks...)
	p.asSuperuser(t, each(`create table WS0.kept_TABLE as table WS0.TABLE;`)+`create table WS0.kept_task as table WS0.task;`, ada)
	back := each(`truncate WS0.TABLE; insert into WS0.TABLE select * from WS0.kept_TABLE;`) + `truncate WS0.task cascade; insert into WS0.task select * from WS0.kept_task;`

	middle := half + 10
	at := func(text string) string {
		return strings.NewReplacer("HALF+1", fmt.Sprint(half+1), "MIDDLE+1", fmt.Sprint(middle+1), "MIDDLE", fmt.Sprint(middle), "END+1", fmt.Sprint(end+1), "END", fmt.Sprint(end)).Replace(text)
	}
	renumber := func(behind string, by int) string {
		return fmt.Sprintf(`update event set position = -position where position > %[1]s; update event set position = -position + %[2]d where position < 0; update head set position = position + %[2]d;`, behind, by)
	}
	const (
		cut  = `delete from event where position > MIDDLE; update head set position = MIDDLE, last = event.id, at = event.at from event where event.position = MIDDLE;`
		fits = `update head set position = event.position, last = event.id, at = event.at from event where event.position = (select max(position) from event);
			delete from tile; update tree set size = 0; update checkpoint set position = head.position from head;`
		forked = "position HALF+1: forked from a known checkpoint"
	)
	for _, state := range []struct{ name, sql, alone, fitted, file string }{
		{"as it was", `select`, "", "", ""},
		{"changed", `update event set data = replace(data::text, 'name', 'nome')::json where position = MIDDLE`, "position MIDDLE: changed", forked, forked},
		{"changed, by who did it", `update event set actor = null where position = MIDDLE`, "position MIDDLE: changed", forked, forked},
		{"changed before the first checkpoint", `update event set actor = null where position = 2`, "position 2: changed", "position 1: forked", "position 1: forked"},
		{"its size changed", `update event set size = size + 1 where position = MIDDLE`, "position MIDDLE: changed", "position MIDDLE: changed", ""},
		{"missing", `delete from event where position = MIDDLE`, "position MIDDLE: missing", "position MIDDLE: missing", "position MIDDLE: missing"},
		{"missing, the rest moved up", `delete from event where position = MIDDLE;` + renumber("MIDDLE", -1), "position MIDDLE: missing", "position MIDDLE: missing", "position MIDDLE: missing"},
		{"inserted", renumber("MIDDLE - 1", 1) + `insert into event (position, id, stream, version, type, at, data, size)
			select MIDDLE, gen_random_uuid(), 'task-019308d5-7f6e-7cc1-a1bc-0c8a4ba1a2f1', 1, 'task.completed', at, '{}', 2 from event where position = MIDDLE+1`, "position MIDDLE: inserted", forked, forked},
		{"inserted behind the head", `insert into event (position, id, stream, version, type, at, data, size)
			select END+1, gen_random_uuid(), 'forged', 1, 'security.log_read', at, '{}', 2 from head`, "position END+1: inserted", "", ""}, // with the head moved it is an append
		{"inserted before the first", `insert into event (position, id, stream, version, type, at, data, size)
			select -1, gen_random_uuid(), 'task-019308d5-7f6e-7cc1-a1bc-0c8a4ba1a2f1', 1, 'task.completed', at, '{}', 2 from head`, "position -1: inserted", "position -1: inserted", ""},
		{"reordered", `update event set position = -1 where position = MIDDLE; update event set position = MIDDLE where position = MIDDLE+1; update event set position = MIDDLE+1 where position = -1`,
			"position MIDDLE: reordered", "position MIDDLE: reordered", "position MIDDLE: reordered"},
		{"cut off at the beginning", `delete from event where position <= 3`, "position 1: cut off at the beginning", "position 1: cut off at the beginning", "position 1: cut off at the beginning"},
		{"as if it were pruned", `delete from event where position <= 3; update head set pruned = 3, pruned_at = at`, "position 1: cut off at the beginning", "position 1: cut off at the beginning", "position 1: cut off at the beginning"},
		{"cut off at the end", `delete from event where position > MIDDLE`, "position MIDDLE+1: cut off at the end", "position MIDDLE+1: cut off at the end", "position MIDDLE+1: cut off at the end"},
		{"cut off at the end, with the head", cut, "position MIDDLE+1: cut off at the end", "position MIDDLE+1: cut off at the end", "position MIDDLE+1: cut off at the end"},
		{"cut off at the end, with head and tree", cut + `delete from tile; update tree set size = 0`, "position MIDDLE+1: cut off at the end: the log ends at MIDDLE, and the read models have it up to END",
			"position MIDDLE+1: cut off at the end", "position MIDDLE+1: cut off at the end"},
		{"cut off at the end, but for rows", cut + fits, "position MIDDLE+1: cut off at the end: the log ends at MIDDLE, and a row of task comes from END",
			"position MIDDLE+1: cut off at the end", "position MIDDLE+1: cut off at the end"},
		{"cut off at the end, but for the rows of one table", cut + fits + `delete from task`, "position MIDDLE+1: cut off at the end: the log ends at MIDDLE, and a row of search comes from END", "position MIDDLE+1: cut off at the end", "position MIDDLE+1: cut off at the end"},
		{"gone", `delete from event`, "position 1: cut off at the beginning", "position 1: cut off at the", "position 1: cut off at the end"},
		{"of another workspace", each(`delete from WS0.TABLE; insert into WS0.TABLE select * from WS1.TABLE;`), "position 1: of another workspace", "position 1: of another workspace", "position 1: of another workspace"},

		{"the head before the end", `update head set position = MIDDLE`, "position MIDDLE+1: cut off at the end", "", ""},
		{"the head behind the end", `update head set position = END+1`, "position END+1: cut off at the end", "", ""},
		{"the head nowhere", `update head set position = -1`, "changed: the head row", "", ""},
		{"the horizon before the beginning", `update head set pruned = -5`, "changed: the head row", "changed: the head row", ""},
		{"the horizon behind the end", `update head set pruned = END+1`, "changed: the head row", "changed: the head row", ""},
		{"the time of the head", `update head set at = at + interval '1 hour'`, "position END: changed", "", ""},
		{"the time of a horizon", `update head set pruned_at = at`, "position END: changed", "position END: changed", ""},
		{"the last record by its name", `update head set last = gen_random_uuid()`, "position END: changed", "", ""},
		{"the epoch of the head", `update head set epoch = 2`, "position END: changed", "position END: changed", ""},
		{"no epoch", `update head set epoch = 0`, "changed: the head row", "changed: the head row", ""},
		{"no head", `delete from head`, "changed: the row", "changed: the row", ""},

		{"the tree larger", `update tree set size = size + 500`, "position END+1: cut off at the end", "", ""},
		{"the tree as large as can be", `update tree set size = 9223372036854775807`, "position END+1: cut off at the end", "", ""},
		{"the tree smaller than nothing", `update tree set size = -1`, "tree damaged", "", ""},
		{"the tree behind", `update tree set size = 3`, "", "", ""}, // as it is a moment after an append
		{"no tree", `delete from tree`, "tree damaged", "tree damaged", ""},
		{"no hashes", `delete from tile`, "position END: tree damaged", "", ""},
		{"half the hashes", `update tile set hashes = substring(hashes for 100)`, "position END: tree damaged", "", ""},
		{"a hash of a record", `update tile set hashes = overlay(hashes placing '\x00' from 40) where id = 0`, "position 2: changed", "", ""},
		{"a hash of hashes", `update tile set hashes = overlay(hashes placing '\x00' from 5) where id >= 1::bigint << 48`, "position END: tree damaged", "", ""},
		{"hashes of what is not there", `insert into tile select id + 7, hashes from tile`, "", "", ""}, // nobody reads them, and the tree grows over them

		{"a baseline where nothing was pruned", `insert into baseline values ('task', gen_random_uuid(), 'task-019308d5-7f6e-7cc1-a1bc-0c8a4ba1a2f1', 3, 0, '{}')`, "inserted", "inserted", ""},
		{"a baseline of a future horizon", `insert into baseline values ('task', gen_random_uuid(), 'task-019308d5-7f6e-7cc1-a1bc-0c8a4ba1a2f1', 3, 3, '{}')`, "", "", ""}, // pruning begins with deleting it

		{"the read models ahead", `update checkpoint set position = END + 5`, "position END+1: cut off at the end", "", ""},
		{"the read models set back", `update checkpoint set position = MIDDLE`, "position MIDDLE+1: read model", "", ""},
		{"the read models at the beginning", `update checkpoint set position = 0`, "position 1: read model", "", ""},
		{"the read models before it", `update checkpoint set position = -1`, "read model", "", ""},
		{"no place of the read models", `delete from checkpoint`, "read model", "read model", ""},
		{"another version of the roster", `update checkpoint set roster = roster + 1`, "read model", "read model", ""},
		{"a row changed", `update task set title = 'forged'`, "read model", "read model", ""},
		{"a row of a later time", `update task set position = position + 1`, "position END+1: cut off at the end", "position END+1: cut off at the end", ""},
		{"a row gone", `delete from task`, "read model", "read model", ""},
	} {
		p.asSuperuser(t, back+at(state.sql), ada, eve)
		names := func(how, want string, verdict eventstore.Verdict, err error) {
			t.Helper()
			var found string
			if len(verdict.Findings) > 0 {
				found = verdict.Findings[0].String()
			}
			if err != nil || len(verdict.Findings) > 1 || (want == "") != (found == "") || !strings.HasPrefix(found, at(want)) {
				t.Errorf("%s, %s: %q, %v; want %q", state.name, how, verdict.Findings, err, at(want))
			}
		}
		verdict, err := p.projections.Verify(t.Context(), ada.workspace, projections.Expected(ada.workspace, nil, 1), true, nil)
		names("alone", state.alone, verdict, err)

		var records []eventstore.Record
		p.asSuperuser(t, `truncate head; insert into head select * from kept_head`, ada)
		ada.query(t, eventstore.Range(&records, 1, math.MaxInt64))
		var replay []byte
		for _, r := range records {
			replay = append(r.AppendLine(replay), '\n')
		}
		verdict, err = eventstore.VerifyFile(strings.NewReader(string(replay)), projections.Expected(ada.workspace, marks, 1), nil)
		names("in a file", state.file, verdict, err)

		p.asSuperuser(t, back+at(state.sql)+";"+fits, ada, eve)
		for range 2 {
			_, _ = p.store.Grow(t.Context(), ada.workspace) // as far as the damage
		}
		verdict, err = p.projections.Verify(t.Context(), ada.workspace, projections.Expected(ada.workspace, marks, 1), state.fitted != "", nil)
		names("made to fit", state.fitted, verdict, err)
		p.asSuperuser(t, back, ada)
	}
	ada.verifies(t, marks...)
}
