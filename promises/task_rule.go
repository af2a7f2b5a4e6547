package promises

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// tasksHold says what is wrong with the tasks at the end of a log: what several events of one command make true together.
func tasksHold(o *oracle) error {
	tasks, ranks, externals := the[uuid.UUID, judgedTask](o), map[string]uuid.UUID{}, map[[2]string]uuid.UUID{}
	for id, k := range tasks {
		other, ranked := ranks[k.rank]
		twin, named := externals[k.external]
		ranks[k.rank] = id
		if named = named && k.external != [2]string{}; !named {
			externals[k.external] = id
		}
		if err := firstError(
			when(k.unnumbered, "it has no key in its project"),
			when(ranked, fmt.Sprintf("it has the rank of %s", other)),
			when(named, fmt.Sprintf("it is called elsewhere as %s", twin)),
			o.underParent(k), o.knownToOthers(id, k), o.named(id, k),
		); err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
	}
	return nil
}

// underParent says whether a task is where the one above it is.
func (o *oracle) underParent(k *judgedTask) error {
	if k.parent == nil {
		return nil
	}
	above := the[uuid.UUID, judgedTask](o)[*k.parent]
	same := above.project == nil && k.project == nil || above.project != nil && k.project != nil && *above.project == *k.project
	return firstError(when(above.deleted && !k.deleted, "it is there, and the one above it is not"), when(!same, "it is in another project than the one above it"))
}

// knownToOthers says whether the other end of each relation has it, too.
func (o *oracle) knownToOthers(id uuid.UUID, k *judgedTask) error {
	for _, r := range k.relations {
		if !slices.Contains(the[uuid.UUID, judgedTask](o)[r.TaskID].relations, domain.TaskRelation{Kind: ends[r.Kind], TaskID: id}) {
			return fmt.Errorf("it %s %s, which does not know", r.Kind, r.TaskID)
		}
	}
	return nil
}

// named says whether a task took the pair that it has.
func (o *oracle) named(id uuid.UUID, k *judgedTask) error {
	if k.external == [2]string{} {
		return nil
	}
	pair := domain.ExternalStream(domain.External{Source: k.external[0], ID: k.external[1]}.Key())
	holder := the[pairStream, uuid.UUID](o)[pairStream(pair)]
	return when(holder == nil || *holder != id, "it never took its external id")
}

// ends is each kind of relation as the other end has it.
var ends = map[string]string{"blocks": "blocked_by", "blocked_by": "blocks", "duplicates": "duplicated_by", "duplicated_by": "duplicates", "relates": "relates"}

// related judges one of the two ends of a relation. The end that was asked for comes first; the other follows from it.
func (o *oracle) related(id uuid.UUID, r domain.TaskRelation, update error) error {
	tasks := the[uuid.UUID, judgedTask](o)
	k, other := tasks[id], tasks[r.TaskID]
	switch {
	case r.TaskID == id || other == nil || slices.Contains(k.relations, r):
		return fmt.Errorf("it is so already, or with itself, or with nothing")
	case slices.Contains(other.relations, domain.TaskRelation{Kind: ends[r.Kind], TaskID: id}):
		update = nil
	case other.deleted || r.Kind == "blocked_by" || r.Kind == "duplicated_by":
		return fmt.Errorf("the other task is not there, or does not know")
	case r.Kind != "relates" && o.leads(r.Kind, r.TaskID, id):
		return fmt.Errorf("a circle of %s", r.Kind)
	}
	k.relations = append(k.relations, r)
	return update
}

// leads tells whether one task leads to another by a kind of relation.
func (o *oracle) leads(kind string, from, to uuid.UUID) bool {
	seen := map[uuid.UUID]bool{from: true}
	for next := []uuid.UUID{from}; len(next) > 0; next = next[1:] {
		if next[0] == to {
			return true
		}
		for _, r := range the[uuid.UUID, judgedTask](o)[next[0]].relations {
			if r.Kind == kind && !seen[r.TaskID] {
				seen[r.TaskID] = true
				next = append(next, r.TaskID)
			}
		}
	}
	return false
}

// below tells whether a task is below another one.
func (o *oracle) below(id, above uuid.UUID) bool {
	tasks := the[uuid.UUID, judgedTask](o)
	for at := tasks[id].parent; at != nil; at = tasks[*at].parent {
		if *at == above {
			return true
		}
	}
	return false
}

// came says whether a task is below the one whose stream says that it came.
func (o *oracle) came(f fact, e domain.TaskSubtaskAdded) error {
	above, _ := domain.StreamID("subtasks", f.Stream)
	k := the[uuid.UUID, judgedTask](o)[e.TaskID]
	return when(k == nil || k.parent == nil || *k.parent != above, "it is not below that one")
}

// pairStream is the stream of an external source and id; the oracle remembers whose each is.
type pairStream string

func (o *oracle) pair(f fact) error {
	pairs := the[pairStream, uuid.UUID](o)
	holder := pairs[pairStream(f.Stream)]
	if e, taken := f.event.(domain.TaskExternalTaken); taken {
		pairs[pairStream(f.Stream)] = &e.TaskID
		return when(holder != nil, "another task has it")
	}
	delete(pairs, pairStream(f.Stream))
	return when(holder == nil || *holder != f.event.(domain.TaskExternalFreed).TaskID, "it is not the task's")
}

// text is what an optional text says.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
