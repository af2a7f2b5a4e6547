package eventstore_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/eventstore"
)

// The edge of a tree at any size gives the root of that size, and no other hashes do.
func TestEdge(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	f.fill(t, w, 1, 70)
	f.grow(t, w)
	for _, size := range []int64{1, 2, 31, 32, 33, 63, 64, 65, 70} {
		edge, err := eventstore.LookEdge(t.Context(), eventstore.Reading(f.db, w), size)
		if err != nil {
			t.Fatal(err)
		}
		root, err := f.store.Root(t.Context(), w, size)
		if err != nil {
			t.Fatal(err)
		}
		if !eventstore.CheckEdge(size, edge, root) {
			t.Errorf("the edge at %d is not of the tree", size)
		}
		if size > 1 && eventstore.CheckEdge(size-1, edge, root) || eventstore.CheckEdge(size+1, edge, root) || eventstore.CheckEdge(size, edge[1:], root) || eventstore.CheckEdge(size, append(edge, root), root) {
			t.Errorf("the edge at %d is that of another size, too", size)
		}
		edge[len(edge)-1][7]++
		if eventstore.CheckEdge(size, edge, root) {
			t.Errorf("a changed edge at %d passes", size)
		}
	}
	if _, err := eventstore.LookEdge(t.Context(), eventstore.Reading(f.db, w), 71); err == nil {
		t.Error("LookEdge gives an edge beyond the tree")
	}
}

// A file that begins behind pruned records is verified with the LogPruned record in it, wherever that record is, also against checkpoints
// before that record.
func TestVerifyFileBehindTheHorizon(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	f.fill(t, w, 1, 40)
	marks := []eventstore.Mark{f.mark(t, w, 1)}
	f.fill(t, w, 41, 60)
	marks = append(marks, f.mark(t, w, 1))
	root, tree, err := f.store.Edge(t.Context(), w, 21)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(f.replay(t, w)), "\n"), "\n")[21:]
	lines[len(lines)-1] += "\n"
	told := func(at int64, p eventstore.Pruned) eventstore.Expected {
		return eventstore.Expected{Marks: marks, Pruned: func(r eventstore.Record) eventstore.Pruned {
			if r.Position == at {
				return p
			}
			return eventstore.Pruned{}
		}}
	}
	right := eventstore.Pruned{UpTo: 21, Root: root, Tree: tree, Baselines: "of them"}
	for _, at := range []int64{22, 23, 40, 41, 60} {
		verdict := f.verifyFile(t, []byte(strings.Join(lines, "")), told(at, right))
		if len(verdict.Findings) > 0 || verdict.Marks != 2 || verdict.Records != 39 || verdict.Pruned != 21 || verdict.Gone.Baselines != "of them" || verdict.Root != marks[1].Root {
			t.Errorf("told at %d: %+v", at, verdict)
		}
	}
	other := right
	other.Tree = slices.Clone(tree)
	slices.Reverse(other.Tree)
	for name, c := range map[string]struct {
		lines []string
		told  eventstore.Expected
		kind  eventstore.FindingKind
	}{
		"changed before it is told": {replaced(lines, 5, strings.Replace(lines[5], "event 27", "event 72", 1)), told(50, right), eventstore.Forked},
		"changed behind that":       {replaced(lines, 5, strings.Replace(lines[5], "event 27", "event 72", 1)), told(22, right), eventstore.Forked},
		"another tree":              {lines, told(50, other), eventstore.Changed},
		"never told":                {lines, told(99, right), eventstore.CutHead},
		"told of others":            {lines, told(50, eventstore.Pruned{UpTo: 20, Root: root, Tree: tree}), eventstore.CutHead},
	} {
		verdict := f.verifyFile(t, []byte(strings.Join(c.lines, "")), c.told)
		if len(verdict.Findings) == 0 || verdict.Findings[0].Kind != c.kind {
			t.Errorf("%s: %v; want %s", name, verdict.Findings, c.kind)
		}
	}
}
