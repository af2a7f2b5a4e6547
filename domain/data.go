package domain

import (
	"slices"
	"strings"
)

// Category is a kind of data that Kluis keeps, with the particulars that the law requires (GDPR, Art. 13 to 15 and 30). The texts are
// English phrases that begin in lower case. Exports, answers about a person, erasures and the records of processing all follow from Data.
// A test fails when a column, a field of an event, a prefix of blobs, a job or a mail has no category, or two.
type Category struct {
	Name       string // stable, snake_case
	Title      string
	Kinds      string // of personal data (Art. 28 (3) and 30 (1) c); empty when there are none
	Purpose    string
	Basis      Basis
	Subjects   []string // the people whom the data are about; empty for data about nobody
	Recipients []string // besides the workspace itself and its operator
	Retention  string
	Measures   []string // besides isolation, permissions and TLS, which every category has
	Places     []Place
}

// Personal tells whether the data are about people.
func (c Category) Personal() bool { return len(c.Subjects) > 0 }

// Basis is the lawful basis of a processing: a letter of Art. 6 (1) of the GDPR. The workspace is the controller and decides on the basis;
// the letters here are the usual ones. The operator of Kluis processes on the workspace's instructions (Art. 28).
type Basis string

// The letters of Art. 6 (1) that a category uses.
const (
	Contract   Basis = "6(1)(b)"
	Obligation Basis = "6(1)(c)"
	Interest   Basis = "6(1)(f)"
)

// String gives the letter with its meaning.
func (b Basis) String() string {
	is := map[Basis]string{Contract: "performance of a contract", Obligation: "legal obligation", Interest: "legitimate interests"}
	return "Art. " + string(b) + ", " + is[b]
}

// PlaceKind says in which kind of storage a place is.
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

// Ending is the effect of a member's erasure on the data about that member at a place.
type Ending string

// The endings.
const (
	Stays   Ending = ""        // under a placeholder: the id of a member says nothing once the names are gone
	Deleted Ending = "deleted" // the rows in which one of About is the member go
	Ended   Ending = "sealed"  // the fields of Sealed can no longer be opened, because the member's data key is gone
	Expires Ending = "expires" // by itself, within Retention
)

// Place is a place that holds data of a category. A table or a type of event may be in several categories, with other fields in each.
type Place struct {
	Kind   PlaceKind
	Name   string   // of the table, the type of event, the kind of job, the template of mail; blobs have the pattern of their keys
	Fields []string // columns; fields of the event; values of the mail
	About  []string // the Fields with ids of the members whom the data are about
	Sealed []string // the Fields that are Fernet tokens under the data key of a member or of the workspace, or under the keyring
	Secret []string // the Fields that are in no export and no report, sealed or opened
	Within string   // in the control schema, the one of Fields with the id of the workspace
	Ending Ending
}

// Data is the registry of all categories.
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

// Leaves tells whether a field may be in an export.
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

// CategoriesOf gives the categories that a field of a place is in. Any number but one is a mistake in the registry. An empty field gives
// the categories of the whole place.
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

// Secret tells whether a field must not be in any export.
func Secret(kind PlaceKind, name, field string) bool {
	return slices.ContainsFunc(Places(kind), func(p Place) bool {
		return p.Name == name && slices.Contains(p.Fields, field) && !p.Leaves(field)
	})
}
