package projections

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// A page that was read before its transaction is folded only when it is the next page of the present log.
func TestPagesAhead(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	by := p.found(t)
	w := by.Workspace
	head := p.bulk(t, by, 10) + 2
	page, err := p.readPage(minute(t), w, 0, head)
	if err != nil || int64(len(page.records)) != head {
		t.Fatal(len(page.records), err)
	}
	fold := func(page logPage) (done step) {
		t.Helper()
		if err := p.db.In(minute(t), w, func(tx *pg.Tx) (err error) {
			done, err = p.foldRead(minute(t), tx, page, patience)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return done
	}
	lost := logPage{records: page.records, last: uuid.New()}
	if done := fold(lost); done.events != 0 || done.mark.Position != 0 || done.mark.Behind() != head {
		t.Errorf("folded a page of a log that went back: %+v", done)
	}
	if done := fold(logPage{records: page.records[1:], last: page.last}); done.events != 0 {
		t.Errorf("folded a page that is not the next one: %+v", done)
	}
	if done := fold(page); int64(done.events) != head || done.mark.Behind() != 0 {
		t.Errorf("did not fold the next page: %+v", done)
	}
	if done := fold(page); done.events != 0 || done.mark.Position != head {
		t.Errorf("folded the same page once more: %+v", done)
	}
	if d := p.differences(t, w); d != "" {
		t.Error(d)
	}
	for _, upTo := range []int64{head - 1, head} {
		read := ""
		for page, err := range p.pagesAhead(minute(t), w, head-2, upTo) {
			if err != nil {
				t.Fatal(err)
			}
			read += fmt.Sprint(len(page.records))
		}
		if want := fmt.Sprint(upTo - head + 2); read != want {
			t.Errorf("up to %d: pages of %s, want %s", upTo, read, want)
		}
	}
	for page, err := range p.pagesAhead(minute(t), w, head, head) {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("%d records behind the head", len(page.records))
	}
}
