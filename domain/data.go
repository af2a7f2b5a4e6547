package domain

import (
	"slices"
	"strings"
)

// Category is a kind of data that Kluis keeps, and what the law asks to be said of it (GDPR, Art. 13 to 15 and 30). The texts are
// English, whole phrases, and begin in lower case. What leaves in exports, what a person is told, what ends with an erasure and the
// records of processing all follow from Data; a test fails when a column, a field of an event, a prefix of blobs, a job or a mail has no
// category, or two.
type Category struct {
	Name       string // stable, snake_case
	Title      string
	Kinds      string // of personal data (Art. 28 (3) and 30 (1) c); empty when there are none
	Purpose    string
	Basis      Basis
	Subjects   []string // of whom the data are; empty when they are nobody's
	Recipients []string // besides the workspace itself and whoever runs Kluis for it
	Retention  string
	Measures   []string // besides those that hold for all: isolation, permissions, TLS
	Places     []Place
}

// Personal tells whether the data are about people.
func (c Category) Personal() bool { return len(c.Subjects) > 0 }

// Basis is what makes a processing lawful: a letter of Art. 6 (1) of the GDPR. The workspace is the controller, so these are the ones that
// usually hold; whoever runs Kluis processes on its instructions (Art. 28).
type Basis string

// The letters of Art. 6 (1), as far as there is a use for them.
const (
	Contract   Basis = "6(1)(b)"
	Obligation Basis = "6(1)(c)"
	Interest   Basis = "6(1)(f)"
)

// String names the letter, and says what it is.
func (b Basis) String() string {
	is := map[Basis]string{Contract: "performance of a contract", Obligation: "legal obligation", Interest: "legitimate interests"}
	return "Art. " + string(b) + ", " + is[b]
}

// PlaceKind is where a place is.
type PlaceKind string

// The kinds of places.
const (
	InControl   PlaceKind = "control"   // a table of the control schema
	InWorkspace PlaceKind = "workspace" // a table of the workspace's schema: it goes with the schema
	InEvents    PlaceKind = "event"     // the data of events of one type: in event.data, in baseline.state, and in backups
	InBlobs     PlaceKind = "blob"      // blobs under a prefix
	InJobs      PlaceKind = "job"       // arguments of a kind of job (kluis_jobs.river_job)
	InMail      PlaceKind = "mail"      // values of a mail, which is a job until it is sent
	InFiles     PlaceKind = "file"      // outside the database and the store of blobs
)

// Ending is what the erasure of a member does to what is about them at a place.
type Ending string

// The endings.
const (
	Stays   Ending = ""        // under a placeholder: the id of a member says nothing once the names are gone
	Deleted Ending = "deleted" // the rows in which one of About is the member go
	Ended   Ending = "sealed"  // Sealed can be opened no more, because the member's data key is gone
	Expires Ending = "expires" // by itself, within Retention
)

// Place is where data of a category are. A table or a type of event may be in several categories, with other fields in each.
type Place struct {
	Kind   PlaceKind
	Name   string   // of the table, the type of event, the kind of job, the template of mail; blobs have the pattern of their keys
	Fields []string // columns; fields of the event; values of the mail
	About  []string // of Fields, those that have ids of the members whom it is about
	Sealed []string // of Fields, those that are Fernet tokens under the data key of a member or of the workspace, or under the keyring
	Secret []string // of Fields, those that leave Kluis in no export and no report, opened or not
	Within string   // of Fields, the one with the id of the workspace, in the control schema
	Ending Ending
}

// Data is every category there is.
var Data = slices.Concat(dataOfPeople, dataOfWork, dataOfRunning)

func control(name, fields string) Place {
	return Place{Kind: InControl, Name: name, Fields: words(fields)}
}
func table(name, fields string) Place {
	return Place{Kind: InWorkspace, Name: name, Fields: words(fields)}
}
func event(name, fields string) Place {
	return Place{Kind: InEvents, Name: name, Fields: words(fields)}
}
func blobs(pattern string) Place    { return Place{Kind: InBlobs, Name: pattern, Ending: Stays} }
func job(name, fields string) Place { return Place{Kind: InJobs, Name: name, Fields: words(fields)} }
func mailed(name, fields string) Place {
	return Place{Kind: InMail, Name: name, Fields: words(fields), Ending: Expires}
}
func files(name string) Place { return Place{Kind: InFiles, Name: name, Ending: Expires} }

func words(text string) []string { return strings.Fields(text) }

func (p Place) about(fields string) Place  { p.About = words(fields); return p }
func (p Place) sealed(fields string) Place { p.Sealed = words(fields); return p }
func (p Place) secret(fields string) Place { p.Secret = words(fields); return p }
func (p Place) within(field string) Place  { p.Within = field; return p }
func (p Place) ends(how Ending) Place      { p.Ending = how; return p }

// Leaves tells whether a field may leave in an export.
func (p Place) Leaves(field string) bool { return !slices.Contains(p.Secret, field) }

// Places gives the places of a kind in all categories, in order.
func Places(kind PlaceKind) (places []Place) {
	for _, c := range Data {
		for _, p := range c.Places {
			if p.Kind == kind {
				places = append(places, p)
			}
		}
	}
	return places
}

// CategoriesOf gives the categories that a field of a place is in: one, or the registry is wrong. With an empty field it gives those of the
// whole place.
func CategoriesOf(kind PlaceKind, name, field string) (found []Category) {
	for _, c := range Data {
		if slices.ContainsFunc(c.Places, func(p Place) bool {
			return p.Kind == kind && p.Name == name && (field == "" || slices.Contains(p.Fields, field))
		}) {
			found = append(found, c)
		}
	}
	return found
}

// Secret tells whether a field leaves in no export.
func Secret(kind PlaceKind, name, field string) bool {
	return slices.ContainsFunc(Places(kind), func(p Place) bool {
		return p.Name == name && slices.Contains(p.Fields, field) && !p.Leaves(field)
	})
}
