package eventstore

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/kluis-eu/kluis/internal/panics"
	"github.com/kluis-eu/kluis/internal/pg"
)

// Verdict is the result of verifying a log.
type Verdict struct {
	Records  int64     // the number of checked records
	Pruned   int64     // the number of pruned records before them
	Gone     Pruned    // the log's account of the pruned records
	Root     tlog.Hash // the zero Hash when a file lacks records that were not pruned
	Epoch    int
	Marks    int // the number of marks that agreed
	Findings []Finding
}

// verifyEvents is how many records are read at once.
const verifyEvents = 10_000

// Verify checks the log of a workspace up to its present head, without writing anything:
//
//   - no record is missing or out of order;
//   - the records are those of the stored tree;
//   - the baselines of pruned records have the hash that the log gives;
//   - the log meets e.
//
// A log that is pruned meanwhile is verified again from the start. progress may be nil.
func (s *Store) Verify(ctx context.Context, w pg.Workspace, e Expected, progress func(position, of int64)) (verdict Verdict, err error) {
	for {
		var before, after Head
		err = s.db.Read(ctx, w, LookHead(&before))
		if errors.Is(err, pgx.ErrNoRows) {
			return Verdict{Findings: []Finding{{0, Changed, "the row that says where the log begins and ends is gone"}}}, nil
		}
		if err != nil {
			return verdict, err
		}
		if verdict, err = s.verify(ctx, w, e, progress); err != nil || len(verdict.Findings) == 0 {
			return verdict, err
		}
		if err := s.db.Read(ctx, w, LookHead(&after)); err != nil || after.Pruned == before.Pruned {
			return verdict, err
		}
	}
}

func (s *Store) verify(ctx context.Context, w pg.Workspace, e Expected, progress func(position, of int64)) (verdict Verdict, err error) {
	var tree Tree
	err = s.db.Read(ctx, w, LookTree(&tree))
	if errors.Is(err, pgx.ErrNoRows) {
		return Verdict{Findings: []Finding{{0, TreeLost, "the row with the size of the tree is gone"}}}, nil
	}
	if err != nil {
		return verdict, err
	}
	if f := tree.impossible(); f != nil {
		return Verdict{Findings: []Finding{*f}}, nil
	}
	stored := s.hashes(ctx, w, s.db.Read)
	begin, err := frontierAt(min(tree.Head.Pruned, tree.Size), stored)
	if errors.Is(err, ErrTreeBroken) {
		return Verdict{Findings: []Finding{{tree.Head.Pruned, TreeLost, err.Error()}}}, nil
	}
	if err != nil {
		return verdict, err
	}
	v := newVerifier(e, begin)
	bad, err := s.before(ctx, w, v)
	if err != nil || bad != nil {
		return v.verdict(bad, tree.Head.Epoch), err
	}
	var leafless int64 // the first record whose hash the tree lacks
	err = s.eachHashed(ctx, w, begin.size, tree, func(p hashed) error {
		bad = v.page(p.records, p.leaves, p.stored)
		if f := p.weighed(); f != nil && (bad == nil || f.Position < bad.Position) {
			bad = f
		}
		if bad != nil {
			return errFound
		}
		leafless = cmp.Or(leafless, p.leafless)
		if progress != nil {
			progress(v.tree.size, tree.Head.Position)
		}
		return nil
	})
	if err != nil && bad == nil {
		return verdict, err
	}
	err = nil // with a finding it only ended the reading
	if bad == nil {
		bad, err = s.whole(ctx, w, v, tree)
	}
	if bad == nil && err == nil && leafless > 0 {
		bad = &Finding{leafless, TreeLost, "the stored tree lacks the hash of this record"}
	}
	for _, more := range []func(context.Context, pg.Workspace, *verifier) (*Finding, error){s.left, s.leftOver} {
		if bad == nil && err == nil {
			bad, err = more(ctx, w, v)
		}
	}
	if verdict = v.verdict(bad, tree.Head.Epoch); err == nil && len(verdict.Findings) == 0 { // a log that was cut off explains a wrong head row, so the head row is checked last
		if bad, err = s.headRow(ctx, w, v); bad != nil {
			verdict.Findings = append(verdict.Findings, *bad)
		}
	}
	return verdict, err
}

// impossible finds numbers that Kluis writes for no log.
func (t Tree) impossible() *Finding {
	switch h := t.Head; {
	case h.Position < 0 || h.Pruned < 0 || h.Pruned > h.Position || h.Epoch < 1:
		return &Finding{0, Changed, fmt.Sprintf("the head row has the log from behind %d to %d, in epoch %d", h.Pruned, h.Position, h.Epoch)}
	case t.Size < 0:
		return &Finding{0, TreeLost, fmt.Sprintf("its size is %d", t.Size)}
	}
	return nil
}

// eachHashed gives the pages of a log behind a position, with their hashes, to check. The next page is read and hashed meanwhile.
func (s *Store) eachHashed(ctx context.Context, w pg.Workspace, from int64, tree Tree, check func(hashed) error) error {
	pages := make(chan hashed)
	group, reading := errgroup.WithContext(ctx)
	group.Go(panics.Caught(func() error {
		defer close(pages)
		return s.readHashed(reading, w, from, tree, pages)
	}))
	group.Go(panics.Caught(func() error {
		for p := range pages {
			if err := check(p); err != nil {
				return err
			}
		}
		return nil
	}))
	return group.Wait()
}

// before compares the marks over pruned records with the stored tree.
func (s *Store) before(ctx context.Context, w pg.Workspace, v *verifier) (*Finding, error) {
	for len(v.Marks) > 0 && v.Marks[0].Size <= v.began {
		mark := v.Marks[0]
		root, err := s.Root(ctx, w, mark.Size)
		if errors.Is(err, ErrTreeBroken) {
			return &Finding{mark.Size, TreeLost, err.Error()}, nil
		}
		if err != nil {
			return nil, err
		}
		v.Marks = v.Marks[1:]
		if f := v.judge(mark, root, Finding{v.good.Size + 1, Forked, fmt.Sprintf("the records up to %d, which were pruned, are not those of the checkpoint (%s)", mark.Size, mark.Name)}); f != nil {
			return f, nil
		}
	}
	return nil, nil
}

var errFound = errors.New("something was found")

func (v *verifier) verdict(bad *Finding, epoch int) Verdict {
	verdict := Verdict{Records: v.tree.size - v.began, Pruned: v.began, Gone: v.gone, Epoch: v.epoch}
	if v.rooted {
		verdict.Root = v.tree.root()
	}
	if bad != nil {
		verdict.Findings = append(verdict.Findings, *bad)
	} else {
		verdict.Findings = v.end(epoch)
	}
	verdict.Marks = v.held
	return verdict
}

// whole checks that a log ends at its head, and that its tree has no more records.
func (s *Store) whole(ctx context.Context, w pg.Workspace, v *verifier, tree Tree) (*Finding, error) {
	end := v.tree.size
	switch {
	case end == v.began && end < tree.Head.Position && tree.Head.Pruned == 0:
		return &Finding{1, CutHead, fmt.Sprintf("there is no record, and the head is at %d", tree.Head.Position)}, nil
	case end < tree.Head.Position:
		return &Finding{end + 1, CutTail, fmt.Sprintf("the log ends at %d, and the head is at %d", end, tree.Head.Position)}, nil
	case end < tree.Size:
		return &Finding{end + 1, CutTail, fmt.Sprintf("the log ends at %d, and the tree has %d records", end, tree.Size)}, nil
	case tree.Size < end:
		return nil, nil // the tree has fewer records, all of which were compared
	}
	root, err := s.Root(ctx, w, tree.Size)
	if errors.Is(err, ErrTreeBroken) || err == nil && root != v.tree.root() {
		return &Finding{end, TreeLost, "the records are those of the tree's leaves, and its root is another"}, nil
	}
	return nil, err
}

// left compares the baselines of pruned records with the hash that the log gives. That hash is over the last baseline of each thing. One that was
// replaced counts for the version of its stream as long as it is there.
func (s *Store) left(ctx context.Context, w pg.Workspace, v *verifier) (*Finding, error) {
	var forged int64
	err := s.db.Read(ctx, w, pg.Exec(`select count(*) from (select position, version > lead(version) over later or stream <> lead(stream) over later as odd from baseline
		where position <= $1 window later as (partition by model, id order by position)) as b where position < 1 or odd`, v.began).Scan(&forged))
	switch {
	case err != nil:
		return nil, err
	case forged > 0:
		return &Finding{v.began, Inserted, fmt.Sprintf("%d baselines are of records that the log never had", forged)}, nil
	case v.Pruned == nil || v.began == 0 || v.pruned < v.began:
		return nil, nil // end has a finding for this
	}
	hash, err := HashBaselines(ctx, Reading(s.db, w), v.began)
	if err == nil && hash != v.gone.Baselines {
		return &Finding{v.began, Changed, "the baselines of the records that were pruned are not those of which the log has the hash"}, nil
	}
	return nil, err
}

// leftOver checks the records at or before the horizon that a pruning has not deleted yet: the tree must have their hashes. Readers skip such
// records, but the versions of their streams count.
func (s *Store) leftOver(ctx context.Context, w pg.Workspace, v *verifier) (*Finding, error) {
	for from := int64(math.MinInt64); from <= v.began; {
		var records []sized
		var tiles []tile
		err := s.db.Read(ctx, w,
			pg.Collect(&records, scanSized, `select `+recordColumns+`, size from event where position >= $1 and position <= least($2, `+horizon+`) order by position limit $3`, from, v.began, verifyEvents),
			pg.Rows(&tiles, `select id, hashes from tile where id between $1 and $2 order by id`, tileID(0, max(from, 0)/tileWidth), tileID(0, v.began/tileWidth)))
		if err != nil || len(records) == 0 {
			return nil, err
		}
		for _, r := range records {
			if r.Position < 1 || !slices.Contains(leavesOf(tiles, r.Position-1, r.Position), tlog.RecordHash(r.AppendLine(nil))) {
				return &Finding{r.Position, Inserted, fmt.Sprintf("the records up to %d were pruned, and this one was not among them", v.began)}, nil
			}
		}
		from = records[len(records)-1].Position + 1
	}
	return nil, nil
}

// headRow checks the head row against the log: no record is behind its position, its last event is the record at that position, with the time
// of that record, and its time of the horizon is the log's.
func (s *Store) headRow(ctx context.Context, w pg.Workspace, v *verifier) (*Finding, error) {
	var head, pruned, behind int64
	var named bool
	var prunedAt *time.Time
	err := s.db.Read(ctx, w, pg.Exec(`select position, pruned, pruned_at, coalesce((select min(e.position) from event e where e.position > head.position), 0),
			position = 0 or exists (select from event e where e.position = head.position and e.id = head.last and e.at = head.at) from head`).Scan(&head, &pruned, &prunedAt, &behind, &named))
	switch {
	case err != nil:
		return nil, err
	case behind > 0:
		return &Finding{behind, Inserted, fmt.Sprintf("the head is at %d, and this record is behind it", head)}, nil
	case !named:
		return &Finding{head, Changed, "the head row names another record, or another time, as the last one"}, nil
	case pruned == 0 && prunedAt != nil:
		return &Finding{head, Changed, "the head row has the time of a horizon, and nothing was pruned"}, nil
	case pruned == v.began && pruned > 0 && pruned == v.gone.UpTo && (prunedAt == nil || !prunedAt.Equal(v.gone.At)):
		return &Finding{pruned, Changed, "the head row has another time of the horizon than the log"}, nil
	}
	return nil, nil
}

// hashed is a page of records with the hashes of their lines, and the leaves of the stored tree at the same positions.
type hashed struct {
	records        []Record
	leaves, stored []tlog.Hash
	sizes          []int
	leafless       int64 // the first record that the stored tree counts and has no hash of; 0 for none
}

// weighed checks the sizes by which readers bound a page. The sizes are beside the records and in no leaf.
func (p hashed) weighed() *Finding {
	for i, r := range p.records {
		if p.sizes[i] != len(r.Data) {
			return &Finding{r.Position, Changed, fmt.Sprintf("its data has %d bytes, and %d are noted for it", len(r.Data), p.sizes[i])}
		}
	}
	return nil
}

// readHashed sends the log in pages, from behind a position up to the head.
func (s *Store) readHashed(ctx context.Context, w pg.Workspace, from int64, tree Tree, pages chan<- hashed) error {
	for from < tree.Head.Position {
		var p hashed
		var rows []sized
		var tiles []tile
		err := s.db.Read(ctx, w,
			pg.Collect(&rows, scanSized, `select `+recordColumns+`, size from event where position > $4 and position <= `+PageEnd+`$4`+PageEnds+` order by position`,
				verifyEvents, PageBytes, tree.Head.Position, from),
			pg.Rows(&tiles, `select id, hashes from tile where id between $1 and $2 order by id`, tileID(0, from/tileWidth), tileID(0, (from+verifyEvents)/tileWidth)))
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil // whole has a finding for this
		}
		var line []byte
		for _, r := range rows {
			line = r.AppendLine(line[:0])
			p.records, p.sizes, p.leaves = append(p.records, r.Record), append(p.sizes, r.size), append(p.leaves, tlog.RecordHash(line))
		}
		upTo := min(tree.Size, from+int64(len(p.records)))
		if p.stored = leavesOf(tiles, from, upTo); from+int64(len(p.stored)) < upTo {
			p.leafless = from + int64(len(p.stored)) + 1
		}
		select {
		case pages <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		from = p.records[len(p.records)-1].Position
	}
	return nil
}

// leavesOf gives the leaves behind one position and up to another, as far as tiles have them.
func leavesOf(tiles []tile, from, upTo int64) (leaves []tlog.Hash) {
	byID := map[int64][]byte{}
	for _, t := range tiles {
		byID[t.ID] = t.Hashes
	}
	for ; from < upTo; from++ {
		hashes, at := byID[tileID(0, from/tileWidth)], int(from%tileWidth)*tlog.HashSize
		if at+tlog.HashSize > len(hashes) {
			return leaves
		}
		leaves = append(leaves, tlog.Hash(hashes[at:]))
	}
	return leaves
}

// sized is a record with its stored size.
type sized struct {
	Record
	size int
}

func scanSized(row pgx.CollectableRow) (r sized, err error) {
	err = r.scan(row, &r.size)
	return r, err
}

// VerifyFile checks the lines of a replay without a database. The lines must begin with the first record, or with the first one behind the
// pruned records; in the second case no root can be compared.
func VerifyFile(lines io.Reader, e Expected, progress func(position int64)) (Verdict, error) {
	v := newVerifier(e, frontier{})
	in := bufio.NewReaderSize(lines, 1<<20)
	for first := true; ; first = false {
		records, leaves, bad, err := readLines(in, v.tree.size)
		if err != nil {
			return Verdict{}, err
		}
		if first && len(records) > 0 && records[0].Position > 1 {
			v = newVerifier(e, frontier{size: records[0].Position - 1})
		}
		if found := v.page(records, leaves, nil); found != nil {
			bad = found
		}
		if bad != nil || len(records) == 0 {
			return v.verdict(bad, 0), nil
		}
		if progress != nil {
			progress(v.tree.size)
		}
	}
}

// maxLine is more bytes than any record that a command can append.
const maxLine = 64 << 20

// ReadLine reads a line and gives it without its end. At the end of the input it gives io.EOF, with the incomplete last line if there is one.
// A line longer than maxLine is an error.
func ReadLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return nil, fmt.Errorf("a line is longer than %d bytes, which no record is", maxLine)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(line, []byte("\n")), err
		}
	}
}

// readLines reads a page of lines. A line in any other form than that of a replay is a finding.
func readLines(in *bufio.Reader, behind int64) (records []Record, leaves []tlog.Hash, bad *Finding, err error) {
	for size := 0; len(records) < verifyEvents && size < PageBytes; {
		line, err := ReadLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, nil, err
		}
		size += len(line)
		whole := err == nil
		if len(line) == 0 {
			if whole {
				continue // a follower's sign of life
			}
			return records, leaves, nil, nil
		}
		r, ok := parseLine(line)
		if !ok || !whole {
			return records, leaves, &Finding{behind + int64(len(records)) + 1, Changed, "the line is not as a replay writes one"}, nil
		}
		records, leaves = append(records, r), append(leaves, tlog.RecordHash(line))
	}
	return records, leaves, nil, nil
}

// parseLine is the inverse of AppendLine.
func parseLine(line []byte) (Record, bool) {
	var l struct {
		Position int64           `json:"position"`
		ID       uuid.UUID       `json:"id"`
		Stream   string          `json:"stream"`
		Version  int             `json:"version"`
		Type     string          `json:"type"`
		At       time.Time       `json:"at"`
		Actor    *uuid.UUID      `json:"actor"`
		Meta     json.RawMessage `json:"meta"`
		Data     json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(line, &l); err != nil || l.Version > math.MaxInt32 {
		return Record{}, false
	}
	r := Record{Position: l.Position, ID: l.ID, Stream: l.Stream, Version: l.Version, Type: l.Type, At: l.At, Actor: l.Actor, Meta: l.Meta, Data: l.Data}
	if string(r.Meta) == "null" {
		r.Meta = nil
	}
	return r, bytes.Equal(r.AppendLine(nil), line)
}
