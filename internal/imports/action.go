package imports

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Action is something that somebody did to a task. Which fields belong to which Do says its constant.
type Action struct {
	Line int // of the file, from 1; in a JSON document, of the thing that it is in
	At   time.Time
	By   Person
	Do   Do
	Task string // its id over there

	// ID is the id of what is made: of a comment or a time entry. Without one the import makes one of what the action says, so that the
	// same line again is the same thing.
	ID string

	Title      string
	Body       *string // of a task, or of a comment
	Status     string  // in words of over there: see Status
	Priority   string
	Project    string // its name
	ProjectKey string // as in PROJ-12; empty when the export has none
	Parent     string
	Assignees  []Person
	Tags       []string
	Estimate   *int // minutes
	StartOn    string
	DueOn      string // a day

	Start    time.Time
	Minutes  int
	Activity string
}

// Do is what an action does.
type Do string

// The kinds of actions, with their fields besides At, By and Task.
const (
	SayPerson   Do = "person"       // nothing, and neither At nor Task: it says who By is, for the actions after it
	CreateTask  Do = "task.create"  // Title and all that a task has
	SetStatus   Do = "task.status"  // Status
	AddComment  Do = "comment.add"  // ID, Body
	EditComment Do = "comment.edit" // ID, Body; without a Body nothing is known of the edit but that there was one
	LogTime     Do = "time.log"     // Start, Minutes, Activity
)

// Person is somebody over there. An Email finds the member who has it; anybody else becomes a placeholder with the name.
type Person struct {
	Code  string // what the export calls the person
	Name  string
	Email string
}

// Reject is a line that cannot be imported, and why.
type Reject struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

func (r *Reject) Error() string { return fmt.Sprintf("line %d: %s", r.Line, r.Reason) }

func rejected(line int, format string, args ...any) *Reject {
	return &Reject{line, fmt.Sprintf(format, args...)}
}

// Options say how to read a file.
type Options struct {
	Format  string                  // one of Formats
	Org     string                  // of a tracker with several organisations, the one to read; empty for all
	Mapping map[string]string       // of a CSV: the field of each column
	Dates   func(map[string]string) // is told, before the first row of a CSV, in which order the dates with slashes of its columns are read
	Asked   time.Time               // when the import was asked for, by the database's clock: a row of a CSV without a time is of then, and nothing is of more than a year later
}

// Formats are those that Read knows.
var Formats = []string{"tracker", "jira", "github", "csv"}

// Read gives the actions of a file, the oldest first as far as the file has them so. A *Reject is about one action, of which Line is known, and Task when the
// file says so; reading goes on behind it. Any other error ends the reading.
func Read(from io.ReadSeeker, o Options) iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		for a, err := range o.read(from) {
			if err == nil && a.At.After(o.Asked.AddDate(1, 0, 0)) { // a slip, as of a time entry
				err = rejected(a.Line, "%s is more than a year from now", a.At.Format(time.RFC3339))
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// unmarked reads a text in UTF-8, or one that is marked as Windows does, in UTF-8 or UTF-16.
func unmarked(from io.Reader) io.Reader {
	return transform.NewReader(from, unicode.BOMOverride(transform.Nop))
}

func (o Options) read(from io.ReadSeeker) iter.Seq2[Action, error] {
	switch o.Format {
	case "tracker":
		return tracker(unmarked(from), o.Org)
	case "jira":
		return jira(unmarked(from))
	case "github":
		return github(unmarked(from))
	case "csv":
		return table(from, o)
	default:
		return func(yield func(Action, error) bool) {
			yield(Action{}, fmt.Errorf("the format is one of %s, not %q", strings.Join(Formats, ", "), o.Format))
		}
	}
}

// Status says in Kluis' words what a tracker says in its own, in English, French, Dutch or German; false when it is none that is known.
func Status(text string) (status string, known bool) {
	switch words(text) {
	case "open", "reopened", "new", "to do", "todo", "backlog", "selected for development", "unstarted",
		"à faire", "ouvert", "nouveau", "te doen", "nieuw", "offen", "neu", "zu erledigen":
		return "open", true
	case "in progress", "doing", "started", "in review", "review", "in development", "testing", "blocked",
		"en cours", "en revue", "bezig", "in uitvoering", "in arbeit", "in bearbeitung":
		return "in_progress", true
	case "done", "resolved", "closed", "complete", "completed", "fixed",
		"terminé", "fait", "résolu", "fermé", "klaar", "gereed", "voltooid", "afgerond", "gesloten", "erledigt", "fertig", "abgeschlossen", "geschlossen":
		return "done", true
	case "cancelled", "canceled", "won't do", "wontfix", "won't fix", "rejected", "duplicate", "not planned", "declined",
		"annulé", "abandonné", "geannuleerd", "vervallen", "abgebrochen", "verworfen":
		return "cancelled", true
	}
	return "", false
}

// Priority does so of a priority.
func Priority(text string) (priority string, known bool) {
	switch words(text) {
	case "", "none", "no priority", "aucune", "geen", "keine":
		return "none", true
	case "blocker", "critical", "urgent", "highest", "urgente", "critique", "dringend":
		return "urgent", true
	case "high", "major", "haute", "élevée", "hoog", "hoch":
		return "high", true
	case "medium", "normal", "moyenne", "normale", "gemiddeld", "normaal", "mittel":
		return "medium", true
	case "low", "lowest", "minor", "trivial", "basse", "faible", "laag", "niedrig":
		return "low", true
	}
	return "", false
}

func words(text string) string {
	return strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToLower(strings.TrimSpace(text)))
}

// tags are labels as a workspace can have them: without what is around them, each once.
func tags(labels ...string) (clean []string) {
	for _, label := range labels {
		label = strings.Trim(strings.TrimSpace(label), ",; ")
		if label != "" && !slices.Contains(clean, label) {
			clean = append(clean, label)
		}
	}
	return clean
}
