package commands

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/archive"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/projections"
)

// The export of a pruned log has two more files: the baselines, from which the log goes on, and the edge of the Merkle tree over the pruned records. The
// record log.pruned has the hash of the baselines and the root of that tree.

// baselines writes the baselines and the edge of a pruned log.
func (e *exporting) baselines(ctx context.Context, s *projections.Snapshot) error {
	if s.Head.Pruned == 0 {
		return nil
	}
	err := e.zip.Add(archive.BaselinesName, func(to io.Writer, n *int) (err error) {
		*n, err = eventstore.WriteBaselines(ctx, s.Run, s.Head.Pruned, to)
		return err
	})
	if err != nil {
		return err
	}
	edge, err := eventstore.LookEdge(ctx, s.Run, s.Head.Pruned)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, hash := range edge {
		lines.WriteString(encodeHash(hash) + "\n")
	}
	return e.text(archive.EdgeName, lines.String())
}

// openBaselines gives the sealed fields of a page of baselines in clear, in the order of the baselines.
func (c *Commands) openBaselines(ctx context.Context, w pg.Workspace, page []eventstore.Baseline) (lines []openedLine, err error) {
	members := make([]uuid.UUID, len(page))
	for i, b := range page {
		members[i], _ = sealedInState(b)
	}
	keys, err := c.Vault.Keys(ctx, w, unique(slices.DeleteFunc(slices.Clone(members), func(id uuid.UUID) bool { return id == uuid.Nil })))
	if err != nil {
		return nil, err
	}
	for i, b := range page {
		if _, sealed := sealedInState(b); sealed != nil {
			if fields := openFields(keys, members[i], sealed); fields != nil {
				lines = append(lines, openedLine{Model: b.Model, ID: b.ID, Fields: fields})
			}
		}
	}
	return lines, nil
}

// parseEdge reads the edge of a tree.
func parseEdge(text []byte) (edge []tlog.Hash, err error) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		hash, err := tlog.ParseHash(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%q: %w", archive.EdgeName, err)
		}
		edge = append(edge, hash)
	}
	return edge, nil
}

// baselines loads the baselines of a pruned log, with their sealed fields sealed anew, and makes rows of them. hash is the hash of the baselines as
// they are stored here.
func (l *loader) baselines(ctx context.Context, tx pgx.Tx, clear *opened) (hash string, err error) {
	gone := l.from.Pruned
	if gone.UpTo == 0 {
		return "", nil
	}
	err = l.from.Read(archive.BaselinesName, func(from io.Reader) error {
		var page []eventstore.Baseline
		for lines := bufio.NewReaderSize(from, 1<<20); ; {
			line, err := eventstore.ReadLine(lines)
			if errors.Is(err, io.EOF) && len(line) == 0 {
				break
			}
			var b eventstore.Baseline
			if err == nil {
				err = json.Unmarshal(line, &b)
			}
			if err == nil {
				b, err = l.resealBaseline(b, clear)
			}
			if err != nil {
				return err
			}
			if page = append(page, b); len(page) == loadedAtOnce {
				if err := run(ctx, tx, eventstore.StoreBaselines(page)); err != nil {
					return err
				}
				page = nil
			}
		}
		return run(ctx, tx, eventstore.StoreBaselines(page))
	})
	if err == nil {
		err = l.c.Projections.LayBaselines(ctx, in(tx), gone.UpTo)
	}
	if err != nil {
		return "", err
	}
	return eventstore.HashBaselines(ctx, in(tx), gone.UpTo)
}

// loadedAtOnce is how many baselines are in memory at once.
const loadedAtOnce = 1_000

// resealBaseline gives a baseline as the new workspace has it.
func (l *loader) resealBaseline(b eventstore.Baseline, clear *opened) (eventstore.Baseline, error) {
	line, err := clear.ofBaseline(b)
	if err != nil {
		return b, err
	}
	if was := l.from.Origin.Workspace; b.Stream == domain.WorkspaceStream(was) {
		b.Stream = domain.WorkspaceStream(l.w.ID)
		if b.ID == was {
			b.ID, b.State = l.w.ID, bytes.Replace(b.State, quoted(was.String()), quoted(l.w.ID.String()), 1)
		}
	}
	member, sealed := sealedInState(b)
	if sealed == nil || len(line.Fields) == 0 {
		return b, nil
	}
	if b.State, err = l.reseal(member, sealed, line.Fields, b.State); err != nil {
		return b, err
	}
	var state struct{ Status string }
	if json.Unmarshal(b.State, &state) == nil && state.Status == domain.Removed {
		delete(l.emails, member)
	}
	return b, nil
}

// opened reads the opened fields in an archive one line at a time: first those of the baselines, then those of the records, both in their order.
type opened struct {
	lines *bufio.Reader
	ahead openedLine // the next line
	ended bool
}

func openedIn(from io.Reader) (*opened, error) {
	o := &opened{lines: bufio.NewReaderSize(from, 1<<20)}
	return o, o.next()
}

func (o *opened) next() error {
	o.ahead = openedLine{}
	line, err := eventstore.ReadLine(o.lines)
	if o.ended = errors.Is(err, io.EOF) && len(line) == 0; o.ended {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(line, &o.ahead)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", archive.OpenedName, err)
	}
	return nil
}

func (o *opened) ofBaseline(b eventstore.Baseline) (line openedLine, err error) {
	if o.ahead.Model == b.Model && o.ahead.ID == b.ID && b.Model != "" {
		line = o.ahead
		err = o.next()
	}
	return line, err
}

func (o *opened) ofRecord(position int64) (line openedLine, err error) {
	for err == nil && o.ahead.Position < position && !o.ended {
		err = o.next()
	}
	if o.ahead.Position == position {
		line = o.ahead
	}
	return line, err
}

func encodeHash(hash tlog.Hash) string { return base64.StdEncoding.EncodeToString(hash[:]) }
