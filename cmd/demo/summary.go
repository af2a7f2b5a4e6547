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

// Summary is the result of a run.
type Summary struct {
	Actions    int            // in the file
	Played     map[string]int // actions by their kind
	Repeated   int            // actions that an earlier try, whose answer was lost, had played
	Rejected   int
	Rejects    []Reject      // the first 10,000 of each org
	Took       time.Duration // of the imports, without sign-up, invitations and the count
	Again      map[string]int
	Workspaces []Workspace
}

// Reject is a line of the file that cannot be imported, and why.
type Reject struct {
	Line   int
	Reason string
}

// Workspace is a workspace that the run made. The summary shows its password, because that is a random one for a demo.
type Workspace struct {
	Org, Slug                string
	Members                  int
	Email, Password          string // of the admin
	Checked                  bool   // whether the counts below were read
	Tasks, Comments, Minutes int    // in the server's lists
	Differences              []string
}

// Rate gives the actions per second.
func (s Summary) Rate() float64 { return float64(s.played()) / max(s.Took.Seconds(), 1e-3) }

func (s Summary) played() int {
	n := s.Repeated
	for _, of := range s.Played {
		n += of
	}
	return n
}

func (r *run) summary() Summary {
	s := Summary{Actions: r.plan.actions, Played: map[string]int{}, Took: r.took, Again: r.client.again}
	for _, w := range r.workspaces {
		for do, n := range w.imported.Counts.Played {
			s.Played[do] += n
		}
		s.Repeated += w.imported.Counts.Repeated
		s.Rejected += w.imported.Counts.Rejected
		s.Rejects = append(s.Rejects, w.rejects()...)
		s.Workspaces = append(s.Workspaces, Workspace{Org: w.plan.name, Slug: w.slug(), Members: 1 + len(w.people), Email: w.email("admin"), Password: w.password,
			Checked: w.found != nil, Tasks: w.found.total("tasks"), Comments: w.found.total("comments"), Minutes: w.found.total("minutes"), Differences: w.differences})
	}
	slices.SortFunc(s.Rejects, func(x, y Reject) int { return cmp.Compare(x.Line, y.Line) })
	return s
}

func (s Summary) print(out io.Writer) error {
	b := &strings.Builder{}
	t := tabwriter.NewWriter(b, 0, 0, 3, ' ', tabwriter.AlignRight)
	row := func(what string, n int, rest string) { fmt.Fprintf(t, "%s\t%s\t  %s\n", what, thousands(n), rest) }
	row("actions", s.Actions, fmt.Sprintf("in %s: %.0f a second", s.Took.Round(time.Millisecond), s.Rate()))
	for _, do := range slices.Sorted(maps.Keys(s.Played)) {
		row(do, s.Played[do], "")
	}
	if s.Repeated > 0 {
		row("by a try before", s.Repeated, "")
	}
	row("rejected", s.Rejected, "")
	t.Flush()
	if len(s.Rejects) > 0 {
		fmt.Fprint(b, "\nRejected\n")
		for _, r := range s.Rejects {
			fmt.Fprintf(b, "  line %d: %s\n", r.Line, r.Reason)
		}
	}
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

const shownDifferences = 5

func (s Summary) printWorkspaces(b *strings.Builder) {
	if len(s.Workspaces) == 0 {
		return
	}
	fmt.Fprint(b, "\nCounted on the server, and in the file: tasks by status and tag, comments, minutes by person and month\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, w := range s.Workspaces {
		if !w.Checked {
			fmt.Fprintf(t, "  %s\t%s members\tnot counted: the run broke off\n", w.Org, thousands(w.Members))
			continue
		}
		verdict := "right"
		if n := len(w.Differences); n > 0 {
			verdict = fmt.Sprintf("WRONG in %d: %s", n, strings.Join(w.Differences[:min(n, shownDifferences)], "; "))
		}
		fmt.Fprintf(t, "  %s\t%s members\t%s tasks\t%s comments\t%s minutes\t%s\n", w.Org, thousands(w.Members),
			thousands(w.Tasks), thousands(w.Comments), thousands(w.Minutes), verdict)
	}
	t.Flush()
	fmt.Fprint(b, "\nLook around: POST /api/login with {\"workspace\", \"email\", \"password\"}. The passwords were made for this run.\n")
	fmt.Fprint(t, "  org\tworkspace\temail (admin)\tpassword\n")
	for _, w := range s.Workspaces {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", w.Org, w.Slug, w.Email, w.Password)
	}
	t.Flush()
}
