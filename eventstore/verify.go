package eventstore

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/internal/checkpoint"
)

// Finding is a fault of a log, with the first position at which it shows; 0 when it shows at no position.
type Finding struct {
	Position int64
	Kind     FindingKind
	Detail   string
}

func (f Finding) String() string {
	if f.Position == 0 {
		return fmt.Sprintf("%s: %s", f.Kind, f.Detail)
	}
	return fmt.Sprintf("position %d: %s: %s", f.Position, f.Kind, f.Detail)
}

// FindingKind says how a log was changed.
type FindingKind string

// The kinds of findings.
const (
	Changed   FindingKind = "changed"
	Missing   FindingKind = "missing"
	Inserted  FindingKind = "inserted"
	Reordered FindingKind = "reordered"
	CutHead   FindingKind = "cut off at the beginning"
	CutTail   FindingKind = "cut off at the end"
	Forked    FindingKind = "forked from a known checkpoint"
	Foreign   FindingKind = "of another workspace"
	Restored  FindingKind = "put back to a backup"
	TreeLost  FindingKind = "tree damaged"
	ReadModel FindingKind = "read model that the log does not give"
)

// Mark is a checkpoint from outside of the database whose signature is good.
type Mark struct {
	checkpoint.Checkpoint
	Name string // the source of the checkpoint
}

// Expected are the conditions on a log besides that it is whole.
type Expected struct {
	First   string // the stream of its first record; empty for any
	Marks   []Mark
	Restore func(Record) int    // the epoch that a record begins; 0 for a record that begins none
	Epoch   int                 // the last epoch that the operator knows to have begun with a restore
	Pruned  func(Record) Pruned // reads the record of a pruning; zero for any other record
}

// Pruned is the log's own account of its pruned records.
type Pruned struct {
	UpTo      int64       // the position of the last pruned record; 0 when the account changes only the baselines
	At        time.Time   // the time of that record
	Root      tlog.Hash   // over the pruned records
	Tree      []tlog.Hash // the roots of their full subtrees, the largest first
	Baselines string      // the HashBaselines of their baselines
}

// verifier checks a sequence of records, the oldest first. It keeps a version for each stream, and no records.
type verifier struct {
	Expected
	tree     frontier // over the checked records: the next record comes behind them
	began    int64    // the records up to this position were not checked
	rooted   bool     // the tree over those records is known
	rootThen tlog.Hash
	versions map[string]int
	at       time.Time
	good     Mark      // the last mark that agreed
	epoch    int       // 0 while the epoch of the first checked record is not known
	base     int64     // the position at which the epoch began; 0 when that was not among the checked records
	differ   []differs // marks that disagreed while the epoch was not known
	lost     []Mark
	pruned   int64  // the horizon according to the log
	gone     Pruned // the log's last account of the records up to began
	held     int    // the number of marks that agreed

	waiting []waiting // marks that can be compared once the log gives the tree before them
}

func newVerifier(e Expected, begin frontier) *verifier {
	e.Marks = slices.SortedFunc(slices.Values(e.Marks), func(a, b Mark) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Origin.Epoch, b.Origin.Epoch))
	})
	v := &verifier{Expected: e, tree: begin, began: begin.size, rooted: begin.size == 0 || begin.roots != nil, versions: map[string]int{}}
	if begin.size == 0 {
		v.epoch = 1
	}
	if v.rooted {
		v.rootThen = begin.root()
	}
	return v
}

// page checks records. leaves are the hashes of the records, and stored are the leaves of the stored tree from the same record on, as far as
// it has them.
func (v *verifier) page(records []Record, leaves, stored []tlog.Hash) *Finding {
	for i, r := range records {
		want := v.tree.size + 1
		if i < len(stored) && (leaves[i] != stored[i] || r.Position != want) {
			return v.unlike(records[i:], stored[i:])
		}
		if r.Position != want {
			return v.gap(records[i:])
		}
		if f := v.follows(records[i:]); f != nil {
			return f
		}
		v.tree.add(leaves[i])
		if f := v.told(r); f != nil {
			return f
		}
		if f := v.compare(); f != nil {
			return f
		}
	}
	return nil
}

// follows checks the first of the records against all records before it.
func (v *verifier) follows(behind []Record) *Finding {
	r := behind[0]
	if r.Position == 1 && v.First != "" && r.Stream != v.First {
		return &Finding{1, Foreign, fmt.Sprintf("the log begins with stream %s, that of this workspace with %s", r.Stream, v.First)}
	}
	last, known := v.versions[r.Stream]
	switch {
	case r.At.Before(v.at):
		return &Finding{r.Position, Reordered, fmt.Sprintf("its time is %s, before that of the record before it, %s", r.At.Format(time.RFC3339Nano), v.at.Format(time.RFC3339Nano))}
	case !known && v.began > 0: // the stream begins among the records that were not checked
	case r.Version > last+1 && slices.ContainsFunc(behind, func(other Record) bool { return other.Stream == r.Stream && other.Version == last+1 }):
		return &Finding{r.Position, Reordered, fmt.Sprintf("stream %s goes from version %d to %d, and the one between comes later", r.Stream, last, r.Version)}
	case r.Version > last+1:
		return &Finding{r.Position, Missing, fmt.Sprintf("stream %s goes from version %d to %d, and no position is empty: records were taken out, and those behind them moved up", r.Stream, last, r.Version)}
	case r.Version <= last:
		return &Finding{r.Position, Inserted, fmt.Sprintf("stream %s has version %d again behind version %d", r.Stream, r.Version, last)}
	}
	v.versions[r.Stream], v.at = r.Version, r.At
	return nil
}

// told reads a record about the log itself: a restore or a pruning.
func (v *verifier) told(r Record) *Finding {
	if v.Restore != nil {
		if epoch := v.Restore(r); epoch > 0 {
			if f := v.settle(epoch - 1); f != nil {
				return f
			}
			v.epoch, v.base = epoch, r.Position-1
		}
	}
	if v.Pruned == nil {
		return nil
	}
	switch p := v.Pruned(r); {
	case p.UpTo == v.began && v.began > 0:
		v.gone, v.pruned = p, max(v.pruned, p.UpTo)
		return v.begin(p.Root, p.Tree)
	case p.UpTo == 0 && p.Baselines != "":
		v.gone.Baselines = p.Baselines
	default:
		v.pruned = max(v.pruned, p.UpTo)
	}
	return nil
}

// waiting is a mark, with the tree of the records between the pruned ones and the mark.
type waiting struct {
	Mark
	tree frontier
}

// begin takes the tree over the pruned records from the log. That tree is right when any later checkpoint has the right root.
func (v *verifier) begin(root tlog.Hash, tree []tlog.Hash) *Finding {
	before, whole := newFrontier(v.began, tree)
	if v.rooted && root != v.rootThen || !whole || before.root() != root {
		return &Finding{v.began, Changed, "the root over the records that were pruned is not the one that the log says"}
	}
	if v.rooted {
		return nil
	}
	v.rooted, v.rootThen, v.tree = true, root, v.tree.behind(before)
	for _, w := range v.waiting {
		tree := w.tree.behind(before)
		if f := v.judge(w.Mark, tree.root(), Finding{v.began + 1, Forked, fmt.Sprintf("the records up to %d are not those of the checkpoint (%s)", w.Size, w.Name)}); f != nil {
			return f
		}
	}
	v.waiting = nil
	return nil
}

// compare compares the tree over the checked records with the marks of its size.
func (v *verifier) compare() *Finding {
	for len(v.Marks) > 0 && v.Marks[0].Size <= v.tree.size {
		mark := v.Marks[0]
		v.Marks = v.Marks[1:]
		switch {
		case mark.Size < v.tree.size: // among the records that were not checked
		case !v.rooted:
			v.waiting = append(v.waiting, waiting{mark, frontier{v.tree.size, append([]subtree{}, v.tree.roots...)}})
		default:
			if f := v.judge(mark, v.tree.root(), Finding{v.good.Size + 1, Forked, fmt.Sprintf("the records from here to %d are not those of the checkpoint at %d (%s)", mark.Size, mark.Size, mark.Name)}); f != nil {
				return f
			}
		}
	}
	return nil
}

// differs is a mark that disagreed, and the finding unless the mark is of an earlier epoch.
type differs struct {
	Mark
	forked Finding
}

// judge compares a mark with the root at its size. A mark of an earlier epoch may have records that a restore took away. forked is the finding
// about any other mark that disagrees.
func (v *verifier) judge(mark Mark, root tlog.Hash, forked Finding) *Finding {
	switch {
	case root == mark.Root:
		v.good = mark
		v.held++
		if mark.Size >= v.began {
			return v.settle(mark.Origin.Epoch)
		}
	case v.epoch == 0:
		v.differ = append(v.differ, differs{mark, forked})
	case mark.Origin.Epoch < v.epoch && mark.Size > v.base:
		v.lost = append(v.lost, mark)
	default:
		return &forked
	}
	return nil
}

// settle notes the epoch of the first checked record, unless that epoch is known.
func (v *verifier) settle(epoch int) *Finding {
	if v.epoch > 0 {
		return nil
	}
	v.epoch = epoch
	for _, d := range v.differ {
		if d.Origin.Epoch >= epoch {
			return &d.forked
		}
		v.lost = append(v.lost, d.Mark)
	}
	v.differ = nil
	return nil
}

// end checks at the end of the log that no mark is beyond it, and that the epoch is that of the head row; epoch is 0 when there is no head row.
func (v *verifier) end(epoch int) (findings []Finding) {
	if f := v.settle(max(1, cmp.Or(epoch, v.Epoch))); f != nil {
		return append(findings, *f)
	}
	for _, mark := range v.Marks {
		if mark.Origin.Epoch < v.epoch {
			v.lost = append(v.lost, mark)
			continue
		}
		return append(findings, Finding{v.tree.size + 1, CutTail,
			fmt.Sprintf("the log ends with %d records, and the checkpoint (%s) has %d", v.tree.size, mark.Name, mark.Size)})
	}
	if len(v.lost) > 0 && v.epoch > v.Epoch {
		last := v.lost[len(v.lost)-1]
		began := "here"
		if v.base == 0 {
			began = "among the records that were pruned"
		}
		findings = append(findings, Finding{v.base + 1, Restored,
			fmt.Sprintf("epoch %d began %s, and the records up to %d that a checkpoint of epoch %d (%s) has are gone; if that is known, say --epoch %d", v.epoch, began, last.Size, last.Origin.Epoch, last.Name, v.epoch)})
	}
	if epoch > 0 && epoch != v.epoch {
		findings = append(findings, Finding{v.tree.size, Changed, fmt.Sprintf("the head is in epoch %d, and the log tells of epoch %d", epoch, v.epoch)})
	}
	if v.began > v.pruned {
		findings = append(findings, Finding{1, CutHead, fmt.Sprintf("the records up to %d are gone, and the log does not say that they were pruned", v.began)})
	}
	return findings
}

// gap says how the log was changed when another record comes than the next one.
func (v *verifier) gap(behind []Record) *Finding {
	want, got := v.tree.size+1, behind[0].Position
	switch {
	case got < want:
		return &Finding{want, Inserted, fmt.Sprintf("position %d comes again", got)}
	case slices.ContainsFunc(behind, func(r Record) bool { return r.Position == want }):
		return &Finding{want, Reordered, fmt.Sprintf("position %d comes before it", got)}
	case want == 1:
		return &Finding{want, CutHead, fmt.Sprintf("the log begins with position %d", got)}
	}
	return &Finding{want, Missing, fmt.Sprintf("position %d comes behind %d", got, want-1)}
}

// unlike says how a record was changed that differs from the leaf of the stored tree. A line includes the position, so the tree has a moved
// record with its earlier position.
func (v *verifier) unlike(behind []Record, stored []tlog.Hash) *Finding {
	at, r := v.tree.size+1, behind[0]
	if r.Position != at {
		return v.gap(behind)
	}
	for i := 1; i < len(stored); i++ {
		if !was(r, at+int64(i), stored[i]) {
			continue
		}
		if i == 1 && (len(behind) == 1 || !was(behind[1], at, stored[0])) {
			return &Finding{at, Missing, fmt.Sprintf("the record of %d is here: the one before it was taken out, and those behind moved up", at+1)}
		}
		return &Finding{at, Reordered, fmt.Sprintf("the record of %d is here", at+int64(i))}
	}
	for i := 1; i < len(behind); i++ {
		if was(behind[i], at, stored[0]) {
			return &Finding{at, Inserted, fmt.Sprintf("the record that was here is at %d now", behind[i].Position)}
		}
	}
	return &Finding{at, Changed, "the record is not the one that the tree has"}
}

// was tells whether a record, with another position and version, is the record of a leaf.
func was(r Record, position int64, leaf tlog.Hash) bool {
	version := r.Version
	for _, r.Version = range []int{version, version - 1, version + 1} {
		r.Position = position
		if tlog.RecordHash(r.AppendLine(nil)) == leaf {
			return true
		}
	}
	return false
}
