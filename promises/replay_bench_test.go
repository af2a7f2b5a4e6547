package promises

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// BenchmarkReplay replays a log of 1,000,000 events (KLUIS_BENCH_EVENTS) over HTTP, on one connection, by turns with reading the same columns of
// the same rows with plain pgx: in one SELECT, whose values are scanned, and in one COPY, whose bytes nobody looks at. The ratios are the
// medians of three rounds.
func BenchmarkReplay(b *testing.B) {
	events := 1_000_000
	if text := os.Getenv("KLUIS_BENCH_EVENTS"); text != "" {
		events, _ = strconv.Atoi(text)
	}
	p := newSite(b).newProcess(b, false)
	ada := p.signUp(b)
	conn := must(pgx.Connect(context.Background(), pgtest.Superuser(b, p.db.Pool().Config().ConnString())))
	b.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, sql := range []string{`set search_path = ` + ada.workspace.Schema(), fmt.Sprintf(`insert into event (position, id, stream, version, type, at, actor, data, size)
		select head.position + n, gen_random_uuid(), 'task-' || gen_random_uuid(), 1, 'task.created', now(), '%s', data::json, octet_length(data)
			from head, generate_series(1, %d) n, lateral (select json_build_object('title', 'Something that somebody has to do before the end of week ' || n,
				'status', 'open', 'priority', 'none')::text as data) as written order by n`, ada.id, events),
		`update head set (position, last, at) = (select position, id, at from event order by position desc limit 1)`, `vacuum analyze event`} {
		if _, err := conn.Exec(context.Background(), sql); err != nil { //sqlcheck:allow the text is that of the program
			b.Fatal(err)
		}
	}
	last := ada.head(b)
	for b.Loop() {
		var replayed, selected, copied []float64
		var size int64
		for range 3 {
			replayed = append(replayed, rate(last, func() { size = ada.replays(b, last) }))
			selected = append(selected, rate(last, func() { selects(b, conn, last) }))
			copied = append(copied, rate(last, func() {
				if done, err := conn.PgConn().CopyTo(context.Background(), io.Discard, `copy (`+replayedColumns+`) to stdout`); err != nil || done.RowsAffected() != last {
					b.Fatal(done, err)
				}
			}))
		}
		ours := middle(replayed)
		b.ReportMetric(ours, "events/s")
		b.ReportMetric(ours*float64(size)/float64(last)/1e6, "MB/s")
		b.ReportMetric(middle(selected), "selected/s")
		b.ReportMetric(middle(copied), "copied/s")
		b.ReportMetric(ours/middle(selected), "select-x")
		b.ReportMetric(ours/middle(copied), "copy-x")
		b.ReportMetric(0, "ns/op")
	}
}

const replayedColumns = `select position, id, stream, version, type, at, actor, meta, data from event order by position`

// rate is how many a second there are of what do has n of.
func rate(n int64, do func()) float64 {
	begun := time.Now()
	do()
	return float64(n) / time.Since(begun).Seconds()
}

// replays reads the whole log over HTTP and gives the bytes of its lines.
func (c *client) replays(b *testing.B, last int64) (size int64) {
	b.Helper()
	answer := must(wire.Do(c.request(b, "GET", "/api/audit/replay", nil))) //nolint:bodyclose // on the next line
	defer answer.Body.Close()
	lines := &lineCounter{}
	size = must(io.Copy(lines, answer.Body))
	if answer.StatusCode != http.StatusOK || lines.n < last {
		b.Fatalf("%d, and %d lines of %d", answer.StatusCode, lines.n, last)
	}
	return size
}

// lineCounter counts the lines that are written to it.
type lineCounter struct{ n int64 }

func (c *lineCounter) Write(some []byte) (int, error) {
	c.n += int64(bytes.Count(some, []byte("\n")))
	return len(some), nil
}

// selects reads the same rows into values.
func selects(b *testing.B, conn *pgx.Conn, last int64) {
	b.Helper()
	rows, err := conn.Query(context.Background(), replayedColumns)
	if err != nil {
		b.Fatal(err)
	}
	n := int64(0)
	var row plainRecord
	for rows.Next() {
		if err := rows.Scan(&row.position, &row.id, &row.stream, &row.version, &row.kind, &row.at, &row.actor, &row.meta, &row.data); err != nil {
			b.Fatal(err)
		}
		n++
	}
	if rows.Err() != nil || n != last {
		b.Fatal(n, rows.Err())
	}
}

// plainRecord is a row of the log.
type plainRecord struct {
	position     int64
	id           uuid.UUID
	stream, kind string
	version      int
	at           time.Time
	actor        *uuid.UUID
	meta, data   []byte
}
