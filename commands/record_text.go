package commands

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/document"
)

// unnamed stands for an operator of Kluis that has given no name.
const unnamed = "the operator of this installation of Kluis (which has given no name in KLUIS_OPERATOR)"

func (r Records) operator() string { return cmp.Or(r.Operator, unnamed) }

// GeneralMeasures protect all data (GDPR, Art. 32). A category of data may have more.
var GeneralMeasures = []string{
	"every workspace has a schema and a role of its own in the database, and the database itself refuses access to another workspace",
	"the server checks a permission for every operation, and refuses every caller who lacks it",
	"credentials, names, addresses and files are encrypted at rest, under keys that are outside the database and are rotated while Kluis is in use",
	"connections are encrypted: the operator of Kluis serves it over TLS, and mails go over TLS wherever the mail server offers it",
	"what was done, by whom and when is in an append-only log, which its Merkle tree and signed checkpoints protect from later changes",
	"failed log-ins, codes and mails are limited, by network and by account",
	"backups can be made while Kluis is in use, and restores are tested",
	"nothing is sent to anybody but the database, the stores of files and checkpoints, the mail server, the witnesses and the collector of traces that the operator of Kluis names, and to receivers that a workspace names itself",
}

// processing is the record that a processor keeps (GDPR, Art. 30 (2)), with what a controller needs for its own (Art. 30 (1)).
func (r Records) processing() []document.Section {
	sections := []document.Section{{Title: "Who", Text: []string{
		"Processor: " + r.operator() + ".",
		"Controllers: the organisations that have a workspace, each for its own. Each decides what it keeps here and why; the lawful bases below are the usual ones.",
		"Transfers outside of the European Economic Area: " + r.transfers() + ".",
	}}}
	for _, c := range domain.Data {
		sections = append(sections, document.Section{Title: capital(c.Title), List: []document.Item{
			{Term: "Purpose", Text: capital(c.Purpose)},
			{Term: "Personal data", Text: capital(cmp.Or(c.Kinds, "none"))},
			{Term: "Lawful basis", Text: c.Basis.String()},
			{Term: "People", Text: orNone(c.Subjects, "nobody: no personal data")},
			{Term: "Recipients", Text: orNone(c.Recipients, "nobody besides the workspace and the processor")},
			{Term: "Kept", Text: capital(c.Retention)},
			{Term: "Measures", Text: orNone(c.Measures, "the measures for all data")},
			{Term: "Where", Text: where(c)},
		}})
	}
	return append(sections, r.listed("Subprocessors"), r.general("Measures for all of it"))
}

// where names the kinds of places that have data of a category. The records as JSON name the tables, events and mails, for programs.
func where(c domain.Category) string {
	in := map[domain.PlaceKind]string{domain.InControl: "the database, in the part that is of no workspace", domain.InWorkspace: "the database, in the part that is the workspace's alone",
		domain.InEvents: "the log of the workspace, which is in its part of the database", domain.InBlobs: "the store of files, encrypted", domain.InJobs: "queued work, in the database",
		domain.InMail: "mails, which wait in the database until they are sent"}
	var parts []string
	for _, p := range c.Places {
		if part := cmp.Or(in[p.Kind], p.Name); !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return orNone(parts, "nowhere")
}

// country is the English name of a country, by its ISO 3166-1 alpha-2 code.
func country(code string) string {
	region, err := language.ParseRegion(code)
	if err != nil {
		return code
	}
	return cmp.Or(display.English.Regions().Name(region), code)
}

func (r Records) transfers() string {
	var outside []string
	for _, s := range r.Subprocessors() {
		if s.Safeguard != "" {
			outside = append(outside, fmt.Sprintf("%s (%s): %s", s.Name, country(s.Country), s.Safeguard))
		}
	}
	return orNone(outside, "none")
}

// listed is the list of subprocessors as a section.
func (r Records) listed(title string) document.Section {
	s := document.Section{Title: title, Text: []string{fmt.Sprintf("As of %s; version %d of the list.", r.Day, r.Version())}}
	all := r.Subprocessors()
	if len(all) == 0 {
		s.Text = append(s.Text, "There are none.")
	}
	for _, one := range all {
		s.List = append(s.List, document.Item{Term: one.Name, Text: describe(one)})
	}
	return s
}

func describe(s domain.Subprocessor) string {
	text := fmt.Sprintf("%s. In %s. Gets: %s.", capital(s.Purpose), country(s.Country), s.Data)
	if s.Safeguard != "" {
		text += " Protected by: " + s.Safeguard + "."
	}
	return text
}

// subprocessors has the current list, the announced changes, and every former version.
func (r Records) subprocessors() []document.Section {
	coming := document.Section{Title: "Announced", Text: []string{fmt.Sprintf("The admins of every workspace get a mail at least %d days before another company gets data.", domain.SubprocessorNotice)}}
	versions := document.Section{Title: "Versions"}
	for _, c := range r.Changes {
		what := c.Name + " taken out"
		if !c.Removed {
			what = c.Name + ": " + describe(c.Subprocessor)
		}
		if c.Effective > r.Day {
			coming.List = append(coming.List, document.Item{Term: "From " + string(c.Effective), Text: what})
		}
		versions.List = append(versions.List, document.Item{Term: fmt.Sprintf("%d, from %s", c.Version, c.Effective), Text: fmt.Sprintf("%s Announced on %s.", what, domain.Day(c.At))})
	}
	if len(coming.List) == 0 {
		coming.Text = append(coming.Text, "Nothing is announced.")
	}
	sections := []document.Section{{Title: "Who", Text: []string{"Processor: " + r.operator() + "."}}, r.listed("Now"), coming}
	if len(versions.List) > 0 {
		sections = append(sections, versions)
	}
	return sections
}

// residency says where the data are.
func (r Records) residency() []document.Section {
	regions := document.Section{Title: "Regions", Text: []string{
		"A workspace is in one region: its database, its files and the checkpoints of its log. A region whose database or files are outside of the European Economic Area does not start.",
	}}
	for _, region := range r.Regions {
		regions.List = append(regions.List, document.Item{Term: region.Name, Text: "In " + country(region.Country) + ": database, files, checkpoints"})
	}
	return []document.Section{regions, r.listed("Who else gets data"),
		{Title: "What leaves a region", Text: []string{
			"Mails, to the mail server that the processor names, and from there to their recipients.",
			"What a workspace sends to receivers and integrations that it names itself.",
			"Exports, which an admin of the workspace asks for and downloads.",
			"The id, the short name and the region of each workspace, to the list in the first region, so that no two have the same name.",
			"Checkpoints of logs, to a second place and to witnesses, if the processor names any: the number of records, and a hash over them. The content of the records cannot be derived from these.",
			"Traces of requests, to a collector of the processor, if it names one: routes, times and ids. They have no name, address or text.",
			"Nothing else. No page, font, script, statistic or check of passwords comes from, or goes to, anybody else.",
		}}}
}

func (r Records) measures() []document.Section {
	sections := []document.Section{r.general("For all data")}
	for _, c := range domain.Data {
		if len(c.Measures) > 0 {
			sections = append(sections, document.Section{Title: capital(c.Title), Text: []string{capital(strings.Join(c.Measures, "; ")) + "."}})
		}
	}
	return sections
}

func (r Records) general(title string) document.Section {
	s := document.Section{Title: title}
	for _, m := range GeneralMeasures {
		s.Text = append(s.Text, capital(m)+".")
	}
	return s
}

func orNone(texts []string, none string) string {
	if len(texts) == 0 {
		return capital(none)
	}
	return capital(strings.Join(texts, "; "))
}

func capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + text[size:]
}
