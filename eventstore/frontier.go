package eventstore

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the part of a Merkle tree from which the tree can grow: the roots of its full subtrees, the largest first. When the hashes
// over the pruned records are unknown, the frontier is of the records behind them.
type frontier struct {
	size  int64
	roots []subtree
}

// subtree is the root of a full subtree over 1 << level records.
type subtree struct {
	level int
	hash  tlog.Hash
}

// add adds the hash of one more record.
func (f *frontier) add(leaf tlog.Hash) { f.push(subtree{0, leaf}) }

// push adds a subtree at the end, and joins subtrees of the same size.
func (f *frontier) push(s subtree) {
	begin := f.size
	f.size += 1 << s.level
	for last := len(f.roots) - 1; last >= 0 && f.roots[last].level == s.level && begin>>s.level&1 == 1; last-- {
		s = subtree{s.level + 1, tlog.NodeHash(f.roots[last].hash, s.hash)}
		f.roots, begin = f.roots[:last], f.size-1<<s.level
	}
	f.roots = append(f.roots, s)
}

// behind gives the tree over the records of before followed by those of f.
func (f frontier) behind(before frontier) frontier {
	before.roots = append([]subtree{}, before.roots...)
	for _, s := range f.roots {
		before.push(s)
	}
	return before
}

// root gives the root hash over all records so far.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		root, _ := tlog.TreeHash(0, nil)
		return root
	}
	last := len(f.roots) - 1
	root := f.roots[last].hash
	for i := last - 1; i >= 0; i-- {
		root = tlog.NodeHash(f.roots[i].hash, root)
	}
	return root
}

func (f *frontier) hashes() (hashes []tlog.Hash) {
	for _, s := range f.roots {
		hashes = append(hashes, s.hash)
	}
	return hashes
}

// newFrontier makes the frontier of a tree with size records from the roots of its full subtrees; false for a wrong number of hashes.
func newFrontier(size int64, hashes []tlog.Hash) (f frontier, whole bool) {
	if size < 0 || len(hashes) != bits.OnesCount64(uint64(size)) {
		return f, false
	}
	f.size = size
	for level := 62; level >= 0; level-- {
		if size>>level&1 == 1 {
			f.roots = append(f.roots, subtree{level, hashes[len(f.roots)]})
		}
	}
	return f, true
}

// frontierAt reads the frontier at a size from a stored tree.
func frontierAt(size int64, stored tlog.HashReader) (frontier, error) {
	var indexes []int64
	before := int64(0)
	for level := 62; level >= 0; level-- {
		if size>>level&1 == 1 {
			indexes = append(indexes, tlog.StoredHashIndex(level, before>>level))
			before += 1 << level
		}
	}
	var hashes []tlog.Hash
	var err error
	if len(indexes) > 0 {
		hashes, err = stored.ReadHashes(indexes)
	}
	if err != nil {
		return frontier{size: size}, err
	}
	f, _ := newFrontier(size, hashes)
	return f, nil
}
