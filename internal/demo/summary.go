package demo

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Summary is what a run did.
type Summary struct {
	Actions int // in the file
	Counts
	Took       time.Duration // of the actions, without sign-up, invitations and the check
	P50, P99   time.Duration // from sending a command to its answer, without those that got none
	Workspaces []Workspace
}

// Workspace is one that was made. Its password is there because it is a demo's, and random.
type Workspace struct {
	Org, Slug       string
	Members         int
	Email, Password string // of the admin
	Checked         bool   // Found is meant
	Found           Found
}

// Rate is in commands a second.
func (s Summary) Rate() float64 { return float64(s.Sent) / max(s.Took.Seconds(), 1e-3) }

func (r *run) summary() Summary {
	s := Summary{Actions: r.plan.actions, Counts: r.tally.Counts, Took: r.took,
		P50: r.tally.latencies.percentile(50), P99: r.tally.latencies.percentile(99)}
	for _, w := range r.workspaces {
		found, checked := r.found[w]
		s.Workspaces = append(s.Workspaces, Workspace{Org: w.plan.name, Slug: w.slug(), Members: 1 + len(w.people),
			Email: w.email("admin"), Password: w.password, Checked: checked, Found: found})
	}
	return s
}

func (s Summary) print(out io.Writer) error {
	b := &strings.Builder{}
	t := tabwriter.NewWriter(b, 0, 0, 3, ' ', tabwriter.AlignRight)
	row := func(what string, n int, rest string) { fmt.Fprintf(t, "%s\t%s\t  %s\n", what, thousands(n), rest) }
	row("actions", s.Actions, "")
	row("commands sent", s.Sent, fmt.Sprintf("in %s: %.0f a second, p50 %s, p99 %s",
		s.Took.Round(time.Millisecond), s.Rate(), short(s.P50), short(s.P99)))
	row("accepted", s.Accepted, "")
	row("refused", len(s.Refused), "")
	row("refused rightly", total(s.Rightly), "")
	row("not yet there", total(s.NotYet), "")
	row("not sent", total(s.NotSent), "")
	if rest := s.Actions - s.Sent - total(s.NotYet) - total(s.NotSent); rest > 0 {
		row("not reached", rest, "")
	}
	t.Flush()
	if len(s.Refused) > 0 {
		fmt.Fprint(b, "\nRefused\n")
		for _, r := range slices.SortedFunc(slices.Values(s.Refused), func(x, y Refusal) int { return cmp.Compare(x.Line, y.Line) }) {
			fmt.Fprintf(b, "  line %d: %s\n", r.Line, r.Reason)
		}
	}
	part(b, "Refused rightly", s.Rightly)
	part(b, "Not yet there", s.NotYet)
	part(b, "Not sent", s.NotSent)
	part(b, "Left out of actions, since there is no place for it yet", s.LeftOut)
	if len(s.Again) > 0 {
		fmt.Fprint(b, "\nSent again\n")
		for _, why := range slices.Sorted(maps.Keys(s.Again)) {
			fmt.Fprintf(b, "  %s times: %s\n", thousands(s.Again[why]), why)
		}
	}
	s.printWorkspaces(b)
	_, err := io.WriteString(out, b.String())
	return err
}

// part prints kinds of actions, the most frequent first.
func part(b *strings.Builder, title string, some map[string]Some) {
	if len(some) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	byCount := func(x, y string) int { return cmp.Or(some[y].Count-some[x].Count, strings.Compare(x, y)) }
	for _, kind := range slices.SortedFunc(maps.Keys(some), byCount) {
		k := some[kind]
		fmt.Fprintf(b, "  %s: %s (%s)\n", kind, thousands(k.Count), where(k))
	}
}

func where(s Some) string {
	lines := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(s.Lines)), ", "), "[]")
	switch {
	case s.Count > len(s.Lines):
		return "lines " + lines + ", ..."
	case s.Count == 1:
		return "line " + lines
	}
	return "lines " + lines
}

func (s Summary) printWorkspaces(b *strings.Builder) {
	if len(s.Workspaces) == 0 {
		return
	}
	fmt.Fprint(b, "\nRead back\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, w := range s.Workspaces {
		if !w.Checked {
			fmt.Fprintf(t, "  %s\t%s members\tnot read back: the run broke off\n", w.Org, thousands(w.Members))
			continue
		}
		verdict := "right"
		if len(w.Found.Wrong) > 0 {
			verdict = "WRONG: " + strings.Join(w.Found.Wrong, "; ")
		}
		fmt.Fprintf(t, "  %s\t%s members\t%s of %s tasks\t%s of %s comments\t%s\n", w.Org, thousands(w.Members),
			thousands(w.Found.Tasks), thousands(w.Found.TasksWanted), thousands(w.Found.Comments), thousands(w.Found.CommentsWanted), verdict)
	}
	t.Flush()
	fmt.Fprint(b, "\nLook around: POST /api/login with {\"workspace\", \"email\", \"password\"}. The passwords were made for this run.\n")
	fmt.Fprint(t, "  org\tworkspace\temail (admin)\tpassword\n")
	for _, w := range s.Workspaces {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", w.Org, w.Slug, w.Email, w.Password)
	}
	t.Flush()
}

// short is a duration with two or three digits that count.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
