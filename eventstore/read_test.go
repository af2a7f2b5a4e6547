package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// Reading a log that lacks an event is a GapError, wherever the gap is.
func TestGaps(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for hole, want := range map[string]eventstore.GapError{
		"position = 1":             {Want: 1, Got: 2},
		"position = 3":             {Want: 3, Got: 4},
		"position in (3, 4)":       {Want: 3, Got: 5},
		"position = 5":             {Want: 5},
		"position between 1 and 5": {Want: 1},
	} {
		w := f.workspace(t)
		for i := range 5 {
			f.must(t, w, write("thing-1", i, "x"))
		}
		f.superuser(t, w, `delete from event where `+hole)
		next, err := f.store.Each(t.Context(), w, 1, func(eventstore.Record) error { return nil })
		var gap *eventstore.GapError
		if !errors.As(err, &gap) || *gap != want || next != want.Want {
			t.Errorf("without %s: %v after %d, want %v", hole, err, next, &want)
		}
	}
}

// A page is bounded in events and in bytes, and has at least one event.
func TestPagesAreWeighed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	fill := func(n, size int) {
		f.superuser(t, w, fmt.Sprintf(`insert into event (position, id, stream, version, type, at, data, size)
			select h.position + n, gen_random_uuid(), 'thing-' || h.position + n, 1, 'thing.done', now(), json_build_object('text', repeat('x', %[1]d)), %[1]d
			from head h, generate_series(1, %[2]d) n;
			update head set position = (select max(position) from event), last = (select id from event order by position desc limit 1)`, size, n))
	}
	fill(1500, 10)
	fill(100, 200_000)
	fill(2, 9<<20)
	fill(1, 10)
	var pages []int
	for next := int64(0); ; {
		var records []eventstore.Record
		if err := f.db.Read(t.Context(), w, eventstore.After(&records, next)); err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			break
		}
		last, bytes := records[len(records)-1], 0
		for _, r := range records {
			bytes += len(r.Data)
		}
		if bytes-len(last.Data) > eventstore.PageBytes || len(records) > eventstore.PageEvents {
			t.Errorf("a page of %d bytes and %d events", bytes, len(records))
		}
		next = last.Position
		pages = append(pages, len(records))
	}
	if len(pages) != 6 || pages[0] != eventstore.PageEvents || pages[5] != 1 {
		t.Errorf("pages of %v events", pages)
	}
}

// A record is read alike from binary values and from text, which the driver asks for with the simple protocol.
func TestRecordsInEitherFormat(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.workspace(t)
	a := write("thing-1", 0, "some \\u2028 text")
	a.Actor, a.Meta = uuid.New(), json.RawMessage(`{"ip":"x"}`)
	f.must(t, w, a)
	f.must(t, w, write("thing-1", 1, ""))
	conn, err := pgx.Connect(t.Context(), pgtest.Superuser(t, f.url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `set search_path = `+w.Schema()+`; set timezone = 'Europe/Brussels'`); err != nil {
		t.Fatal(err)
	}
	formats := map[string][]eventstore.Record{}
	for name, mode := range map[string]pgx.QueryExecMode{"binary": pgx.QueryExecModeDescribeExec, "text": pgx.QueryExecModeSimpleProtocol} {
		rows, err := conn.Query(t.Context(), `select `+eventstore.RecordColumns+` from event order by position`, mode)
		if err != nil {
			t.Fatal(err)
		}
		records, err := pgx.CollectRows(rows, pgx.RowTo[eventstore.Record])
		if err != nil {
			t.Fatal(err)
		}
		for i := range records {
			records[i].At = records[i].At.UTC()
		}
		formats[name] = records
	}
	if log := f.log(t, w); len(log) != 2 || !reflect.DeepEqual(formats["binary"], log) || !reflect.DeepEqual(formats["text"], log) {
		t.Errorf("%+v\n%+v", log, formats)
	}
}
