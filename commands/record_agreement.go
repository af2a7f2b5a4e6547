package commands

import (
	"fmt"
	"strings"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/document"
)

// agreement is a contract between a controller and the processor (GDPR, Art. 28 (3)), with annexes that follow from the records. The operator of Kluis
// has a lawyer read it, and then signs it with the organisation of a workspace.
func (r Records) agreement() []document.Section {
	sections := []document.Section{
		{Title: "1. Parties", List: []document.Item{
			{Term: "Controller", Text: "The organisation that has a workspace, as it is named in the workspace."},
			{Term: "Processor", Text: r.operator() + "."},
		}},
		{Title: "2. Subject and duration", Text: []string{
			"The processor runs Kluis, a system for managing work, for the controller, and processes personal data in doing so: what Annex I lists, of the people and for the purposes that it names.",
			"The agreement holds for as long as the controller has a workspace, and until the data are deleted under section 9.",
		}},
		{Title: "3. Instructions", Text: []string{
			"The processor processes the data only on documented instructions of the controller, also about transfers to third countries, unless the law of the Union or a member state asks otherwise; then it says so before, unless that law forbids it.",
			"What members of the workspace do in Kluis, within the permissions that the controller gives them, are documented instructions. The processor says at once when it holds an instruction to be unlawful.",
			"The controller decides why and how personal data are processed. It answers for the lawfulness of that, tells the people concerned, and may at any time instruct the processor, take its data out, and check what section 10 says.",
		}},
		{Title: "4. Confidentiality", Text: []string{"Whoever may process the data for the processor is bound to confidentiality, by contract or by law."}},
		{Title: "5. Security", Text: []string{"The processor takes the measures of Annex II (Art. 32), and may replace them by others that protect no less."}},
		{Title: "6. Subprocessors", Text: []string{
			"The controller agrees to the subprocessors of Annex III.",
			fmt.Sprintf("Before another one gets data, the processor tells the admins of the workspace by mail, at least %d days ahead. The controller may object in that time; when the two find no way, the controller may end the agreement before that day.", domain.SubprocessorNotice),
			"The processor binds each subprocessor to the same duties by contract, and answers for what it does as for its own acts.",
		}},
		{Title: "7. Help", Text: []string{
			"The processor helps the controller to answer people who use their rights (Art. 15 to 22): everything about one member leaves at the request of that member or of an admin, and an admin can have a member erased.",
			"It helps with security, impact assessments and consultations (Art. 32 to 36), as far as it has what that takes.",
		}},
		{Title: "8. Breaches", Text: []string{
			"The processor tells the controller of a breach of personal data without undue delay after it becomes aware of it: what happened, whose and which data, how many, what may follow from it, and what was done.",
		}},
		{Title: "9. Deletion and return", Text: []string{
			"Admins of the workspace can export all of it at any time, on every plan. When the services end, the processor erases the data, as the controller chooses after an export, and certifies that. What is in backups becomes unreadable with its keys, and expires with the backups.",
			"What the law asks to be kept is kept for that alone.",
		}},
		{Title: "10. Proof", Text: []string{
			"The processor gives the controller what it needs to show that Art. 28 is kept to, and allows for audits and inspections, and contributes to them, also by auditors whom the controller mandates. The log of the workspace can be verified with tools that are not the processor's.",
		}},
		{Title: "11. Place", Text: []string{"The data are in: " + r.places() + ". Transfers outside of the European Economic Area: " + r.transfers() + "."}},
	}
	annex := document.Section{Title: "Annex I: the data", Text: []string{
		"Kluis asks for no special categories of personal data (Art. 9), and for none about convictions (Art. 10). Free text and files hold what members put into them, which is the controller's to decide.",
	}}
	for _, c := range domain.Data {
		if c.Personal() {
			annex.List = append(annex.List, document.Item{Term: capital(c.Title), Text: fmt.Sprintf("%s. Data: %s. Of: %s. Kept: %s.", capital(c.Purpose), c.Kinds, strings.Join(c.Subjects, "; "), c.Retention)})
		}
	}
	return append(sections, annex, r.general("Annex II: measures"), r.listed("Annex III: subprocessors"),
		document.Section{Title: "Signatures", List: []document.Item{{Term: "For the controller", Text: "name, date, signature"}, {Term: "For the processor", Text: "name, date, signature"}}})
}

func (r Records) places() string {
	var names []string
	for _, region := range r.Regions {
		names = append(names, country(region.Country))
	}
	return orNone(names, "the region of the workspace")
}
