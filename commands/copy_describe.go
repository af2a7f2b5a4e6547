package commands

import (
	"fmt"
	"strings"
)

// Describe tells what is wrong, and what Kluis does about it or what the operator has to do.
func (m Misplaced) Describe() (wrong, do string) {
	wrong, do = m.describe()
	if m.Doubt != nil && m.Right == "" {
		do = fmt.Sprintf("find out first whether it was erased, which is not known here: %v. If it was not: %s", m.Doubt, do)
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
			"nothing is to be done: nobody can use it, and the servers note the erasure in the list"
	case m.unlisted:
		return fmt.Sprintf("workspace %s was erased, as the ledger of erasures in region %s says, and a backup brought it back in %s", m.Slug, m.ErasedIn, in), "nobody can use it, and the servers erase it again"
	case m.ErasedIn != "":
		return fmt.Sprintf("workspace %s was erased in region %s, and a backup brought it back in %s", m.Slug, m.ErasedIn, in), "nobody can use it, and the servers take it away"
	case len(m.Copies) == 0 && m.Broken:
		return fmt.Sprintf("a move of workspace %s was broken off behind its fence: nobody can use it", m.Slug), "run the same `kluis workspace move` again, which goes on where it was"
	case len(m.Copies) == 0 && m.Left != "":
		return fmt.Sprintf("workspace %s was on its way to region %s, of which a backup from before it came there was put back", m.Slug, m.Listed),
			fmt.Sprintf("`kluis workspace keep %s %s` serves what is still in %[2]s; until then nobody can use it", m.Slug, m.Left)
	case len(m.Copies) == 0:
		return fmt.Sprintf("workspace %s is in no region, and the home's list says %s: a backup from before it came there was put back", m.Slug, m.Listed),
			fmt.Sprintf("put back a backup of region %s from behind the move, or of the region in which it was before; until then nobody can use it", m.Listed)
	case len(m.Copies) == 1:
		return fmt.Sprintf("workspace %s is in region %s, and the home's list said %s", m.Slug, in, m.Listed), "it is served where it is: nothing is to be done"
	case m.Right != "":
		return fmt.Sprintf("workspace %s is in more than one region, since a backup from before a move was put back: %s; the log in %s has all that the others have", m.Slug, in, m.Right),
			fmt.Sprintf("it is served from %[2]s alone; `kluis workspace keep --discard %[1]s %[2]s` takes the old copy away", m.Slug, m.Right)
	}
	return fmt.Sprintf("workspace %s is in more than one region, and each log has records that another lacks: %s; none is served", m.Slug, in),
		fmt.Sprintf("compare them with `kluis replay --region REGION %[1]s`; then `kluis workspace keep %[1]s REGION` serves that one", m.Slug)
}
