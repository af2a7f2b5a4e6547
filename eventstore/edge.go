package eventstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/internal/pg"
)

// The edge of a tree is the hashes of the last tile of each level, the largest level first. A tree can grow, and prove its growth, from its
// edge alone.

// LookEdge reads the edge of the tree over the first size records. The stored tree may be larger, because tiles only gain hashes at their
// end.
func LookEdge(ctx context.Context, run Run, size int64) (edge []tlog.Hash, err error) {
	var rows []tile
	if err := run(ctx, pg.Rows(&rows, `select id, hashes from tile where id = any(array(select (l::bigint << 48) + ($3::bigint >> $1::int * (l + 1)) from generate_series(0, $2::int) l))`,
		tileHeight, tileLevels-1, size)); err != nil {
		return nil, err
	}
	stored := map[int64][]byte{}
	for _, row := range rows {
		stored[row.ID] = row.Hashes
	}
	for level := tileLevels - 1; level >= 0; level-- {
		hashes := stored[lastTile(size, level)]
		if len(hashes) < tlog.HashSize*inLastTile(size, level) {
			return nil, errShortTile(size, level, len(hashes))
		}
		for i := range inLastTile(size, level) {
			edge = append(edge, tlog.Hash(hashes[i*tlog.HashSize:]))
		}
	}
	return edge, nil
}

func errShortTile(size int64, level, bytes int) error {
	return fmt.Errorf("%w: the last tile of level %d at %d records has %d bytes", ErrTreeBroken, level, size, bytes)
}

func lastTile(size int64, level int) int64 { return tileID(level, size>>(tileHeight*(level+1))) }

// inLastTile gives the number of hashes in the last tile of a level: a digit of the size.
func inLastTile(size int64, level int) int {
	return int(size >> (tileHeight * level) & (tileWidth - 1))
}

// CheckEdge tells whether edge is the edge of the tree with this size and root.
func CheckEdge(size int64, edge []tlog.Hash, root tlog.Hash) bool {
	var f frontier
	for level := tileLevels - 1; level >= 0; level-- {
		n := inLastTile(size, level)
		if len(edge) < n {
			return false
		}
		for _, hash := range edge[:n] {
			f.push(subtree{tileHeight * level, hash})
		}
		edge = edge[n:]
	}
	return len(edge) == 0 && f.size == size && f.root() == root
}

// storeEdge makes the tree of a workspace without one, from an edge that passed CheckEdge.
func storeEdge(ctx context.Context, tx pgx.Tx, size int64, edge []tlog.Hash) error {
	var ids []int64
	var tiles [][]byte
	for level := tileLevels - 1; level >= 0; level-- {
		var hashes []byte
		n := inLastTile(size, level)
		for _, hash := range edge[:n] {
			hashes = append(hashes, hash[:]...)
		}
		if edge = edge[n:]; n > 0 {
			ids, tiles = append(ids, lastTile(size, level)), append(tiles, hashes)
		}
	}
	if _, err := tx.Exec(ctx, `insert into tile (id, hashes) select id, hashes from unnest($1::bigint[], $2::bytea[]) as t (id, hashes)`, ids, tiles); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update tree set size = $1`, size)
	return err
}
