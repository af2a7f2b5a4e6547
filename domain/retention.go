package domain

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

const aDay = 24 * time.Hour

// planRetention is how long each plan keeps events. The years include leap days. A plan that is not listed keeps events for ever, unless
// another retention was agreed.
var planRetention = map[string]time.Duration{"free": 90 * aDay, "pro": 366 * aDay, "business": (3*365 + 1) * aDay}

// Forever is longer than any retention that can be agreed.
const Forever = 200 * 366 * aDay

// RetentionGrace is how long the earlier retention stays in force when a workspace changes to a smaller plan.
const RetentionGrace = 30 * aDay

// Retention is how long the events of a workspace are kept. Zero keeps them for ever.
type Retention time.Duration

// PlanRetention is the retention of a plan when no other one was agreed.
func PlanRetention(plan string) Retention { return Retention(planRetention[plan]) }

// Shorter tells whether r keeps events for a shorter time than another retention.
func (r Retention) Shorter(than Retention) bool { return r != 0 && (than == 0 || r < than) }

// Before gives the instant before which events are pruned now; the zero Time when all events are kept.
func (r Retention) Before(now time.Time) time.Time {
	if r == 0 {
		return time.Time{}
	}
	return now.Add(-time.Duration(r))
}

// Days gives the retention in days; nil means for ever.
func (r Retention) Days() *float64 {
	if r == 0 {
		return nil
	}
	days := time.Duration(r).Hours() / 24
	return &days
}

func (r Retention) String() string {
	switch d := time.Duration(r); {
	case r == 0:
		return "for ever"
	case d%aDay == 0:
		return strconv.Itoa(int(d/aDay)) + " days"
	default:
		return d.String()
	}
}

// ParseRetention reads an agreed retention: 400d, 5y (of 366 days each), or a Go duration such as 36h.
func ParseRetention(text string) (Retention, error) {
	wrong := InvalidField("/retention", "expected days, years or hours, such as 400d, 5y or 36h, of at most 100 years")
	d, err := time.ParseDuration(text)
	for suffix, unit := range map[string]time.Duration{"d": aDay, "y": 366 * aDay} {
		if number, is := strings.CutSuffix(text, suffix); is {
			var n int
			n, err = strconv.Atoi(number)
			d = time.Duration(min(max(n, 0), int(100*366*aDay/unit)+1)) * unit // one more than the maximum, which is refused below
		}
	}
	if err != nil || d < time.Second || d > 100*366*aDay {
		return 0, wrong
	}
	return Retention(d.Truncate(time.Second)), nil
}

// agreed gives the agreed retention, else that of the plan.
func agreed(plan string, seconds *int) Retention {
	if seconds != nil {
		return Retention(*seconds) * Retention(time.Second)
	}
	return PlanRetention(plan)
}

// Retention gives the retention in force at a moment: the agreed one, else that of the plan. For RetentionGrace after a change to a smaller
// plan the earlier retention stays in force.
func (w Workspace) Retention(at time.Time) Retention {
	now := agreed(w.Plan, w.RetentionSeconds)
	if w.EarlierUntil != nil && at.Before(*w.EarlierUntil) {
		earlier := Retention(0)
		if w.EarlierSeconds != nil {
			earlier = Retention(*w.EarlierSeconds) * Retention(time.Second)
		}
		if now.Shorter(earlier) {
			return earlier
		}
	}
	return now
}

// changePlan folds a change of the plan. When a smaller plan keeps events for a shorter time, the earlier retention stays in force for
// RetentionGrace. An agreed retention is in force at once, because the customer agreed to it.
func (w *Workspace) changePlan(e WorkspacePlanChanged, at time.Time) {
	inForce := w.Retention(at)
	down := slices.Index(Plans, e.Plan) < slices.Index(Plans, w.Plan)
	w.Plan, w.RetentionSeconds = e.Plan, e.RetentionSeconds
	after := agreed(w.Plan, w.RetentionSeconds)
	switch {
	case !after.Shorter(inForce) || e.RetentionSeconds != nil:
		w.EarlierSeconds, w.EarlierUntil = nil, nil
	case down:
		until := at.Add(RetentionGrace)
		w.EarlierUntil, w.EarlierSeconds = &until, nil
		if inForce != 0 {
			seconds := int(time.Duration(inForce) / time.Second)
			w.EarlierSeconds = &seconds
		}
	}
}

// AgreePlan changes the plan, with an agreed retention or, for nil, that of the plan. Only the largest plan can have an agreed one.
func (w Workspace) AgreePlan(plan string, retention *Retention) ([]Event, error) {
	e := WorkspacePlanChanged{Plan: plan}
	if retention != nil {
		seconds := int(time.Duration(*retention) / time.Second)
		e.RetentionSeconds = &seconds
	}
	if err := oneOf("/plan", plan, Plans...); err != nil {
		return nil, err
	}
	if retention != nil && plan != Plans[len(Plans)-1] {
		return nil, InvalidField("/retention", "is agreed for the plan %s alone: %s keeps events %s", Plans[len(Plans)-1], plan, PlanRetention(plan))
	}
	same := w.RetentionSeconds == nil && e.RetentionSeconds == nil || w.RetentionSeconds != nil && e.RetentionSeconds != nil && *w.RetentionSeconds == *e.RetentionSeconds
	if plan == w.Plan && same {
		return nil, nil
	}
	return []Event{e}, nil
}

// PlaceHold keeps all events until the hold is lifted, even beyond the retention.
func (w Workspace) PlaceHold(reason string) ([]Event, error) {
	if err := checkText("/reason", reason, 0, MaxTitle); err != nil {
		return nil, err
	}
	if w.LegalHold {
		return nil, Refuse(Conflict, "held_already", "the workspace is under a legal hold already")
	}
	return []Event{WorkspaceHoldPlaced{Reason: reason}}, nil
}

// LiftHold puts the retention in force again.
func (w Workspace) LiftHold() ([]Event, error) {
	if !w.LegalHold {
		return nil, Refuse(Conflict, "not_held", "the workspace is under no legal hold")
	}
	return []Event{WorkspaceHoldLifted{}}, nil
}
