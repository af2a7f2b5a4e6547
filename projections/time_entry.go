package projections

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pg"
)

// TimeEntries is the read model of the time entries. Scope own reaches the member's own time, also on tasks that the member may not see.
var TimeEntries = newNoun(
	newModel("time_entry", domain.TimeEntryStream, ofKind("time_entry"), (*domain.TimeEntry).Apply, func(t domain.TimeEntry) uuid.UUID { return t.ID }).summed(timeSums),
	Sight{Read: domain.ReadTimeEntry, Own: `time_entry.member_id = $2`, Project: `time_entry.project_id`, Gone: `time_entry.deleted_at`, Told: within(Tasks, `time_entry.task_id`)},
	Lists{Filter: TimeFilter{}, Sorts: []Sorting{{Field: "start"}, {Field: "created_at"}, {Field: "updated_at"}}})

// TimeFilter chooses time entries; a zero field chooses all. From and To choose the entries that overlap the span between them: no entry is longer
// than a day, and a running timer counts by its start.
type TimeFilter struct {
	Member   []uuid.UUID `among:"time_entry.member_id"`
	Task     IDs         `among:"time_entry.task_id"`
	Project  IDs         `among:"time_entry.project_id"`
	Tag      []uuid.UUID `where:"time_entry.task_id in (select task.id from task where task.tag_ids && array(select old.id from tag as old join tag as now on now.id = coalesce(old.merged_into, old.id) and now.deleted_at is null where now.id = any(@)))"` // of the task
	Billable *bool       `where:"time_entry.billable = @"`
	Running  *bool       `where:"(time_entry.\"end\" is null) = @"`
	From     *time.Time  `where:"time_entry.start > @ - interval '24 hours' and (time_entry.start >= @ or time_entry.\"end\" > @)"`
	To       *time.Time  `where:"time_entry.start < @"`
}

var (
	timeEntryColumns = readable[domain.TimeEntry]("time_entry", TimeEntries.columns, nil)

	// overlappingTime reads the entries that began in the day before, because no entry is longer than a day, and the running timer.
	overlappingTime = `select ` + timeEntryColumns + ` from time_entry where member_id = $1 and id <> $2 and deleted_at is null and "end" is null
			and start < coalesce($4::timestamptz, 'infinity')
		union all (select ` + timeEntryColumns + ` from time_entry where member_id = $1 and id <> $2 and deleted_at is null
			and start > $3::timestamptz - interval '24 hours' and start < coalesce($4::timestamptz, 'infinity') and "end" > $3::timestamptz and "end" > start order by start limit 1)`
	runningTimer = `select ` + timeEntryColumns + ` from time_entry where member_id = $1 and "end" is null and deleted_at is null`
)

// OverlappingTime is the query for a member's entries other than id that overlap a span.
func OverlappingTime(into *[]domain.TimeEntry, member, id uuid.UUID, s domain.Span) pg.Statement {
	return pg.Rows(into, overlappingTime, member, id, s.Start, s.End) //sqlcheck:allow made once, of constants
}

// RunningTimer is the query for the running timer of a member: one at most.
func RunningTimer(into *[]domain.TimeEntry, member uuid.UUID) pg.Statement {
	return pg.Rows(into, runningTimer, member) //sqlcheck:allow made once, of constants
}

// GetTimer answers with the actor's running timer; nil for none.
func (p *Projections) GetTimer(ctx context.Context, by Actor) (*domain.TimeEntry, Mark, error) {
	running := true
	rows, mark, err := TimeEntries.List(ctx, p, by, Page{Limit: 1}, TimeFilter{Member: []uuid.UUID{by.Member}, Running: &running})
	if err != nil || len(rows) == 0 {
		return nil, mark, err
	}
	return &rows[0], mark, nil
}

// TimeBasis are the facts on which every decision on time depends.
type TimeBasis struct {
	Workspace domain.Workspace
	Now       time.Time // in whole seconds
	Member    bool      // the member exists and was not removed
	RateCents *int      // the member's own rate
	Placed    int       // the version of the stream of the member's time
}

// versionAtCheckpoint is the version at the checkpoint of a stream that makes no rows; @ is its name.
const versionAtCheckpoint = `coalesce((select version from event where stream = @ and position <= (select position from checkpoint) order by version desc limit 1),
		(select max(version) from baseline where stream = @), 0)`

var workerOf = `select exists (select from member where id = $3 and status <> 'removed' and ` + nameable + `), (select hourly_rate_cents from member where id = $3),
	` + strings.ReplaceAll(versionAtCheckpoint, "@", "$4")

var placedTime = `select stream, ` + strings.ReplaceAll(versionAtCheckpoint, "@", "each.stream") + ` as version from (select 'time-' || id as stream from member) as each`

// PlacedTime is the query for the streams of all members' time.
func PlacedTime(into *[]eventstore.Guard) pg.Statement {
	return pg.Rows(into, placedTime) //sqlcheck:allow made once, of constants
}

// LoadTimeBasis gives the queries for the TimeBasis of a member. The stream of the member's time makes no rows, so its version is read at the
// checkpoint, like the entries that the decision reads.
func LoadTimeBasis(into *TimeBasis, by Actor, member uuid.UUID) []pg.Statement {
	return []pg.Statement{
		pg.Exec(`select id, hourly_rate_cents, time_overlap, time_locked_before::text, version, date_trunc('second', clock_timestamp()) from workspace`).
			Scan(&into.Workspace.ID, &into.Workspace.HourlyRateCents, &into.Workspace.TimeOverlap, &into.Workspace.TimeLockedBefore, &into.Workspace.Version, &into.Now),
		//sqlcheck:allow made once, of constants
		pg.Exec(workerOf, by.Scope(domain.ReadMember), by.Member, member, domain.TimeStream(member)).Scan(&into.Member, &into.RateCents, &into.Placed),
	}
}
