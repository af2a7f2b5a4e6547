package domain

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

const aDay = 24 * time.Hour

// planRetention is for how long each plan keeps events: a year is one with its leap day. A plan that is not here keeps them for ever,
// unless something else was agreed.
var planRetention = map[string]time.Duration{"free": 90 * aDay, "pro": 366 * aDay, "business": (3*365 + 1) * aDay}

// Forever is longer than any retention that is agreed.
const Forever = 200 * 366 * aDay

// RetentionGrace is for how long the retention of before holds on when a workspace goes to a smaller plan.
const RetentionGrace = 30 * aDay

// Retention is for how long the events of a workspace are kept. What is zero keeps them for ever.
type Retention time.Duration

// PlanRetention is what a plan says when nothing else was agreed.
func PlanRetention(plan string) Retention { return Retention(planRetention[plan]) }

// Shorter tells whether r keeps events for less long than another one.
func (r Retention) Shorter(than Retention) bool { return r != 0 && (than == 0 || r < than) }

// Before gives the instant before which events are gone, at a moment; the zero Time when none are.
func (r Retention) Before(now time.Time) time.Time {
	if r == 0 {
		return time.Time{}
	}
	return now.Add(-time.Duration(r))
}

// Days is how many days that is; nil for ever.
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

// ParseRetention reads a retention that was agreed: 400d, 5y (of 366 days), or a duration of Go's such as 36h.
func ParseRetention(text string) (Retention, error) {
	wrong := InvalidField("/retention", "expected days, years or hours, such as 400d, 5y or 36h, of at most 100 years")
	d, err := time.ParseDuration(text)
	for suffix, unit := range map[string]time.Duration{"d": aDay, "y": 366 * aDay} {
		if number, is := strings.CutSuffix(text, suffix); is {
			var n int
			n, err = strconv.Atoi(number)
			d = time.Duration(min(max(n, 0), int(100*366*aDay/unit)+1)) * unit // one more than the most is refused
		}
	}
	if err != nil || d < time.Second || d > 100*366*aDay {
		return 0, wrong
	}
	return Retention(d.Truncate(time.Second)), nil
}

// agreed is the retention of a plan, or what was agreed instead.
func agreed(plan string, seconds *int) Retention {
	if seconds != nil {
		return Retention(*seconds) * Retention(time.Second)
	}
	return PlanRetention(plan)
}

// Retention is what is in force at a moment: of the plan, or agreed; and, for some time after the plan went down, that of before.
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

// changePlan folds a change of the plan. Where the plan goes down and events would be kept for less long, what is in force holds on
// for a while. What is agreed takes no time: it was agreed.
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

// AgreePlan decides on a plan, with a retention that was agreed; nil: what the plan says. Only for the largest plan one is.
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

// PlaceHold decides to keep everything, whatever the plan says, until the hold is lifted.
func (w Workspace) PlaceHold(reason string) ([]Event, error) {
	if err := checkText("/reason", reason, 0, MaxTitle); err != nil {
		return nil, err
	}
	if w.LegalHold {
		return nil, Refuse(Conflict, "held_already", "there is a legal hold on it already")
	}
	return []Event{WorkspaceHoldPlaced{Reason: reason}}, nil
}

// LiftHold decides that the plan says again how long events are kept.
func (w Workspace) LiftHold() ([]Event, error) {
	if !w.LegalHold {
		return nil, Refuse(Conflict, "not_held", "there is no legal hold on it")
	}
	return []Event{WorkspaceHoldLifted{}}, nil
}
