package commands

import (
	"fmt"
	"strings"
)

// Describe says what is wrong, and what Kluis does about it or the operator has to do.
func (m Misplaced) Describe() (wrong, do string) {
	wrong, do = m.describe()
	if m.Doubt != nil && m.Right == "" {
		do = fmt.Sprintf("find out first whether the workspace was erased, which is not known here: %v. If it was not: %s", m.Doubt, do)
	}
	return wrong, do
}

func (m Misplaced) describe() (wrong, do string) {
	var copies []string
	for _, c := range m.Copies {
		copies = append(copies, c.String())
	}
	in := strings.Join(copies, " and ")
	switch {
	case m.ErasedIn != "" && len(m.Copies) == 0:
		return fmt.Sprintf("workspace %s was erased, as the ledger of erasures in region %s says, and a backup from before that was put back: the home's list says that it is in %s", m.Slug, m.ErasedIn, m.Listed),
			"nothing has to be done: nobody can use it, and the servers note the erasure in the list"
	case m.unlisted:
		return fmt.Sprintf("workspace %s was erased, as the ledger of erasures in region %s says, and a backup brought it back in %s", m.Slug, m.ErasedIn, in), "nobody can use it, and the servers erase it again"
	case m.ErasedIn != "":
		return fmt.Sprintf("workspace %s was erased in region %s, and a backup brought it back in %s", m.Slug, m.ErasedIn, in), "nobody can use it, and the servers delete it"
	case len(m.Copies) == 0 && m.Broken:
		return fmt.Sprintf("a move of workspace %s was broken off after its fence: nobody can use it", m.Slug), "run the same `kluis workspace move` again: it goes on where it stopped"
	case len(m.Copies) == 0 && m.Left != "":
		return fmt.Sprintf("workspace %s was on its way to region %s, and a backup of that region from before the move was put back", m.Slug, m.Listed),
			fmt.Sprintf("`kluis workspace keep %s %s` serves the copy that is still in %[2]s; until then nobody can use the workspace", m.Slug, m.Left)
	case len(m.Copies) == 0:
		return fmt.Sprintf("workspace %s is in no region, and the home's list says %s: a backup of that region from before the move was put back", m.Slug, m.Listed),
			fmt.Sprintf("put back a later backup of region %s, from after the move, or a backup of the region that the workspace came from; until then nobody can use it", m.Listed)
	case len(m.Copies) == 1:
		return fmt.Sprintf("workspace %s is in region %s, and the home's list said %s", m.Slug, in, m.Listed), "nothing has to be done: it is served from where it is"
	case m.Right != "":
		return fmt.Sprintf("workspace %s is in more than one region, because a backup from before a move was put back: %s; the log in %s has all records of the others", m.Slug, in, m.Right),
			fmt.Sprintf("nothing has to be done: it is served from %[2]s alone; `kluis workspace keep --discard %[1]s %[2]s` deletes the old copy", m.Slug, m.Right)
	}
	return fmt.Sprintf("workspace %s is in more than one region, and each log has records that another lacks: %s; none is served", m.Slug, in),
		fmt.Sprintf("compare them with `kluis replay --region REGION %[1]s`; then `kluis workspace keep %[1]s REGION` serves the one in REGION", m.Slug)
}
