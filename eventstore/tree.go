package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/internal/pg"
)

// The Merkle tree over a log (RFC 6962) is derived from the log, as the read models are: a reader makes it grow first. The leaf of a record is
// the hash of its line, so that auditors can check the lines of a replay. Appends do not wait for the tree.
//
// The hashes are stored in tiles of up to tileWidth neighbours, with the numbers of golang.org/x/mod/sumdb/tlog: 33 bytes a record, and a
// batch of records changes few rows. Tiles only gain hashes at their end, so hashes that were read for a size stay right for that size.

const (
	tileHeight = 5
	tileWidth  = 1 << tileHeight
	tileLevels = 60 / tileHeight
)

// Tree says how many records of a log its tree has.
type Tree struct {
	Size int64 // the records in it
	Head Head
}

// Behind is how many records the tree lacks.
func (t Tree) Behind() int64 { return t.Head.Position - t.Size }

// LookTree is the query for the tree and the head.
func LookTree(into *Tree) pg.Statement {
	return pg.Exec(`select size, position, pruned, epoch from tree, head`).Scan(&into.Size, &into.Head.Position, &into.Head.Pruned, &into.Head.Epoch)
}

// AheadError says that a tree has records that the log lacks, because records were cut off from the end of the log.
type AheadError struct{ Tree Tree }

func (e *AheadError) Error() string {
	return fmt.Sprintf("the Merkle tree has %d records, and the log ends at position %d", e.Tree.Size, e.Tree.Head.Position)
}

// Grow adds the next page of records to the tree of a workspace, and gives the tree's state after that. Only one process at a time grows a
// tree. A log that lacks a record is a GapError, and a log that is shorter than its tree an AheadError.
func (s *Store) Grow(ctx context.Context, w pg.Workspace) (tree Tree, err error) {
	if err := s.db.Read(ctx, w, LookTree(&tree)); err != nil || tree.Behind() == 0 {
		return tree, err
	}
	return s.grow(ctx, w, s.db.In)
}

// door runs a transaction in a workspace, as the workspace's role ([pg.DB.In]) or as the owner.
type door func(ctx context.Context, w pg.Workspace, fn func(tx *pg.Tx) error) error

// Last grows the tree of a closed workspace to the whole log, as the owner, and gives the tree and its root.
func (s *Store) Last(ctx context.Context, w pg.Workspace) (tree Tree, root tlog.Hash, err error) {
	for tree.Size == 0 || tree.Behind() > 0 {
		if tree, err = s.grow(ctx, w, s.db.InAsOwner); err != nil {
			return tree, root, err
		}
		if tree.Head.Position == 0 {
			return tree, root, nil
		}
	}
	root, err = tlog.TreeHash(tree.Size, s.hashes(ctx, w, func(ctx context.Context, w pg.Workspace, query ...pg.Statement) error {
		return s.db.InAsOwner(ctx, w, func(tx *pg.Tx) error { return tx.Run(ctx, query...) })
	}))
	return tree, root, err
}

func (s *Store) grow(ctx context.Context, w pg.Workspace, in door) (tree Tree, err error) {
	err = in(ctx, w, func(tx *pg.Tx) error {
		var records []Record
		var edge []tile
		err := tx.Run(ctx,
			pg.Exec(`set local lock_timeout = '1s'`),
			pg.Exec(`select from tree for update`),
			LookTree(&tree),
			pg.Rows(&edge, `select id, hashes from tile where id = any(array(select (l::bigint << 48) + ((select size from tree) >> $1::int * (l + 1)) from generate_series(0, $2::int) l))`, tileHeight, tileLevels-1),
			pg.Rows(&records, `select `+recordColumns+` from event where position > (select size from tree)
				and position <= `+PageEnd+`(select size from tree)`+PageEnds+` order by position`, PageEvents, PageBytes, int64(math.MaxInt64)),
		)
		if err != nil || tree.Behind() == 0 {
			return err
		}
		if tree.Behind() < 0 {
			return &AheadError{Tree: tree}
		}
		grown, err := newGrowth(tree.Size, edge)
		if err == nil {
			err = grown.addAll(records)
		}
		if err != nil {
			return err
		}
		tree.Size, tree.Head.Position = grown.size, max(tree.Head.Position, grown.size)
		ids, hashes := grown.changed()
		return tx.Commit(ctx,
			pg.Exec(`insert into tile (id, hashes) select id, hashes from unnest($1::bigint[], $2::bytea[]) as t (id, hashes)
				on conflict (id) do update set hashes = excluded.hashes`, ids, hashes),
			pg.Exec(`update tree set size = $1`, tree.Size))
	})
	if err != nil {
		return tree, fmt.Errorf("grow the Merkle tree of workspace %s: %w", w.ID, err)
	}
	return tree, nil
}

// tile is a row of the stored tree.
type tile struct {
	ID     int64
	Hashes []byte
}

func tileID(level int, n int64) int64 { return int64(level)<<48 | n }

// growth is a tree while it gains records: the last tile of each level, and the tiles that were filled.
type growth struct {
	size int64
	edge []tile // by level
	full []tile
}

// newGrowth begins with the tree of so many records. What a tile has beyond those is none of it.
func newGrowth(size int64, edge []tile) (*growth, error) {
	g := &growth{size: size}
	for level := range tileLevels {
		last := tile{ID: lastTile(size, level)}
		for _, t := range edge {
			if t.ID == last.ID {
				last.Hashes = t.Hashes
			}
		}
		n := tlog.HashSize * inLastTile(size, level)
		if len(last.Hashes) < n {
			return nil, errShortTile(size, level, len(last.Hashes))
		}
		last.Hashes = last.Hashes[:n]
		g.edge = append(g.edge, last)
	}
	return g, nil
}

func (g *growth) addAll(records []Record) error {
	if len(records) == 0 {
		return &GapError{Want: g.size + 1}
	}
	var line []byte
	for _, r := range records {
		if r.Position != g.size+1 {
			return &GapError{Want: g.size + 1, Got: r.Position}
		}
		line = r.AppendLine(line[:0])
		g.add(tlog.RecordHash(line))
	}
	return nil
}

// add adds the hash of one more record.
func (g *growth) add(leaf tlog.Hash) {
	g.size++
	g.push(0, leaf)
}

// push adds a hash at the end of its level. A full tile gives a hash of the level above.
func (g *growth) push(level int, hash tlog.Hash) {
	last := &g.edge[level]
	last.Hashes = append(last.Hashes, hash[:]...)
	if len(last.Hashes) < tileWidth*tlog.HashSize {
		return
	}
	g.full = append(g.full, *last)
	g.push(level+1, rootOf(last.Hashes))
	*last = tile{ID: last.ID + 1}
}

// rootOf gives the root over the hashes of a full tile.
func rootOf(hashes []byte) tlog.Hash {
	var row [tileWidth]tlog.Hash
	for i := range row {
		row[i] = tlog.Hash(hashes[i*tlog.HashSize:])
	}
	for n := tileWidth / 2; n > 0; n /= 2 {
		for i := range n {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
	}
	return row[0]
}

// changed gives the tiles to store.
func (g *growth) changed() (ids []int64, hashes [][]byte) {
	for _, tiles := range [][]tile{g.full, g.edge} {
		for _, t := range tiles {
			if len(t.Hashes) > 0 {
				ids, hashes = append(ids, t.ID), append(hashes, t.Hashes)
			}
		}
	}
	return ids, hashes
}

// hashes reads the stored tree (tlog.HashReader).
func (s *Store) hashes(ctx context.Context, w pg.Workspace, read func(context.Context, pg.Workspace, ...pg.Statement) error) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		need := map[int64]tlog.Tile{}
		for _, index := range indexes {
			t := tlog.TileForIndex(tileHeight, index)
			need[tileID(t.L, t.N)] = t
		}
		var ids []int64
		for id := range need {
			ids = append(ids, id)
		}
		var rows []tile
		if err := read(ctx, w, pg.Rows(&rows, `select id, hashes from tile where id = any($1)`, ids)); err != nil {
			return nil, fmt.Errorf("read the Merkle tree of workspace %s: %w", w.ID, err)
		}
		stored := map[int64][]byte{}
		for _, row := range rows {
			stored[row.ID] = row.Hashes
		}
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hash, err := hashAt(stored, index)
			if err != nil {
				return nil, fmt.Errorf("read the Merkle tree of workspace %s: %w", w.ID, err)
			}
			found[i] = hash
		}
		return found, nil
	})
}

// ErrTreeBroken says that the stored tree lacks hashes that it must have.
var ErrTreeBroken = errors.New("the Merkle tree lacks stored hashes")

func hashAt(stored map[int64][]byte, index int64) (tlog.Hash, error) {
	t := tlog.TileForIndex(tileHeight, index)
	hashes := stored[tileID(t.L, t.N)]
	hash, err := tlog.HashFromTile(t, hashes, index)
	if err != nil {
		return hash, fmt.Errorf("%w: tile %d of level %d has %d bytes", ErrTreeBroken, t.N, t.L, len(hashes))
	}
	return hash, nil
}

// Root gives the root hash over the first size records of a log.
func (s *Store) Root(ctx context.Context, w pg.Workspace, size int64) (tlog.Hash, error) {
	return tlog.TreeHash(size, s.hashes(ctx, w, s.db.Read))
}

// Edge gives the root hash over the first size records of a log, and the roots of their full subtrees, the largest first.
func (s *Store) Edge(ctx context.Context, w pg.Workspace, size int64) (root tlog.Hash, tree []tlog.Hash, err error) {
	f, err := frontierAt(size, s.hashes(ctx, w, s.db.Read))
	if err != nil {
		return root, nil, err
	}
	return f.root(), f.hashes(), nil
}

// ProveRecord proves that a record is in the tree over the first size records.
func (s *Store) ProveRecord(ctx context.Context, w pg.Workspace, size, position int64) (tlog.RecordProof, error) {
	return tlog.ProveRecord(size, position-1, s.hashes(ctx, w, s.db.Read))
}

// ProveGrowth proves that the log at size begins with the log at old.
func (s *Store) ProveGrowth(ctx context.Context, w pg.Workspace, size, old int64) (tlog.TreeProof, error) {
	return tlog.ProveTree(size, old, s.hashes(ctx, w, s.db.Read))
}

// GrowFor grows the tree until it has all records of the log, or until d is over. A page that was begun is finished.
func (s *Store) GrowFor(ctx context.Context, w pg.Workspace, d time.Duration) (Tree, error) {
	for end := time.Now().Add(d); ; {
		tree, err := s.Grow(ctx, w)
		switch {
		case pg.Is(err, pg.LockNotAvailable) && time.Now().Before(end): // another process grows the tree
		case err != nil, tree.Behind() == 0, time.Now().After(end):
			return tree, err
		}
	}
}
