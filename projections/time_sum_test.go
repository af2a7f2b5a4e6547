package projections

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
)

// After any sequence of changes to entries, in many pages or in one, the sums are those of the present entries: totals made from sums are equal to
// totals made from entries.
func TestTimeSums(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	ids := func(n int) (all []*uuid.UUID) {
		for range n {
			id := uuid.Must(uuid.NewV7())
			all = append(all, &id)
		}
		return all
	}
	rate := 7_777
	members, tasks, projects := ids(3), append(ids(4), nil), append(ids(2), nil)
	begin := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC) // the clocks change on the 29th
	at := func() time.Time { return begin.Add(time.Duration(rand.N(4*86_400)) * time.Second) }
	span := func() (time.Time, time.Time) {
		start := at()
		return start, start.Add(time.Duration(1+rand.N(86_400)) * time.Second)
	}
	type entry struct {
		id      uuid.UUID
		version int
		running time.Time // since when; zero for one that has ended
	}
	var entries []*entry
	for i := range 300 {
		start, end := span()
		work := domain.Work{MemberID: *members[rand.N(3)], TaskID: tasks[rand.N(5)], ProjectID: projects[rand.N(3)], Billable: i%3 > 0, HourlyRateCents: &rate}
		var e domain.Event = domain.TimeEntryCreated{Work: work, Start: start, End: end}
		of := &entry{id: uuid.Must(uuid.NewV7())}
		switch {
		case i%2 == 0 || len(entries) == 0:
			if i%10 == 0 {
				of.running, e = start, domain.TimeEntryStarted{Work: work, Start: start}
			}
			entries = append(entries, of)
		default:
			at := rand.N(len(entries))
			switch of = entries[at]; {
			case !of.running.IsZero():
				of.running, e = time.Time{}, domain.TimeEntryStopped{End: of.running.Add(end.Sub(start))}
			case i%7 == 0:
				entries, e = append(entries[:at:at], entries[at+1:]...), domain.TimeEntryDeleted{}
			case i%7 < 3:
				billable := i%9 > 4
				e = domain.TimeEntryUpdated{Start: &start, End: &end, Billable: &billable}
			default:
				e = domain.TimeEntryUpdated{TaskID: domain.Optional[uuid.UUID]{Set: true, Value: tasks[rand.N(5)]}, ProjectID: domain.Optional[uuid.UUID]{Set: true, Value: projects[rand.N(3)]}}
			}
		}
		p.append(t, w, by.Member, domain.TimeEntryStream(of.id), of.version, e)
		if of.version++; rand.N(5) == 0 {
			if _, err := p.CatchUp(minute(t), w); err != nil {
				t.Fatal(err)
			}
		}
	}
	same := func() {
		t.Helper()
		for _, member := range []Actor{by, {Workspace: w, Member: *members[0], Role: domain.Role{Grants: domain.Grants{{Resource: "time_entry", Action: "read", Scope: domain.Own}}}}} {
			for _, groups := range []string{"", "member", "project", "task", "tag", "day", "week", "month", "member,project,day", "member,project,task"} {
				asked := strings.FieldsFunc(groups, func(r rune) bool { return r == ',' })
				sums, _ := TimeFilter{}.summedBy(nil, nil, asked)
				var made [2][]TimeTotal
				for i, from := range []*Noun[domain.TimeEntry]{sums, nil} {
					args := append(TimeEntries.choose(member, false, TimeFilter{}), nil, nil)
					if err := p.db.Read(minute(t), w, pg.PlanEach(), pg.Rows(&made[i], timeTotals(from, asked), args...)); err != nil {
						t.Fatal(groups, err)
					}
				}
				if sums == nil || len(made[0]) == 0 || !reflect.DeepEqual(made[0], made[1]) {
					t.Errorf("by %s: %d totals of sums are not the %d of entries", groups, len(made[0]), len(made[1]))
				}
			}
		}
		if drifts, err := p.Check(minute(t), w, nil); err != nil || drifts != nil {
			t.Errorf("%v, %v", drifts, err)
		}
	}
	same()
	p.admin(t, `update `+w.Schema()+`.time_sum set minutes = minutes + 1 where id in (select id from `+w.Schema()+`.time_sum limit 1)`)
	if drifts, err := p.Check(minute(t), w, nil); err != nil || len(drifts) != 1 || drifts[0] != (Drift{Table: "time_sum", Rows: 1}) {
		t.Errorf("a wrong sum: %v, %v", drifts, err)
	}
	if _, err := p.Rebuild(minute(t), w, nil); err != nil {
		t.Fatal(err)
	}
	same()
}
