package eventstore

import (
	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the Merkle tree of the records so far, as far as going on from it needs: the roots of its full subtrees, the largest
// first.
type frontier struct {
	size  int64
	roots []tlog.Hash
}

// add puts the hash of one more record in.
func (f *frontier) add(leaf tlog.Hash) {
	for n := f.size; n&1 == 1; n >>= 1 {
		last := len(f.roots) - 1
		leaf = tlog.NodeHash(f.roots[last], leaf)
		f.roots = f.roots[:last]
	}
	f.roots = append(f.roots, leaf)
	f.size++
}

// root is the root hash over all records so far.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		root, _ := tlog.TreeHash(0, nil)
		return root
	}
	last := len(f.roots) - 1
	root := f.roots[last]
	for i := last - 1; i >= 0; i-- {
		root = tlog.NodeHash(f.roots[i], root)
	}
	return root
}

// frontierAt reads the frontier at a size out of a stored tree.
func frontierAt(size int64, stored tlog.HashReader) (f frontier, err error) {
	var indexes []int64
	before := int64(0)
	for level := 62; level >= 0; level-- {
		if size>>level&1 == 1 {
			indexes = append(indexes, tlog.StoredHashIndex(level, before>>level))
			before += 1 << level
		}
	}
	f.size = size
	if len(indexes) > 0 {
		f.roots, err = stored.ReadHashes(indexes)
	}
	return f, err
}
