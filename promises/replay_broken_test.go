package promises

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/projections"
)

// readOut reads an answer to its end, and tells whether it came to its end.
func (c *client) readOut(t testing.TB, target string) (body []byte, whole bool) {
	t.Helper()
	answer, err := http.DefaultClient.Do(c.request(t, "GET", target, nil))
	if err != nil {
		return nil, false
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d", target, answer.StatusCode)
	}
	body, err = io.ReadAll(answer.Body)
	return body, err == nil
}

// Where the log lacks a record, no replay and no export without filters passes for a finished one: it ends the connection, behind every line up to
// there; and whoever goes on from there is told which record is missing.
func TestReplayOfALogWithAGap(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)[0]
	p.expected = "the log has a gap"
	ada := p.signUp(t)
	if _, err := ada.commands.OperatorPlan(t.Context(), ada.workspace, "business", nil); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		ada.newTask(t)
	}
	ada.age(t)
	end := ada.head(t)
	for _, gap := range []int64{1, 7, end} {
		p.asSuperuser(t, fmt.Sprintf(`create table gone as select * from event where position = %[1]d; delete from event where position = %[1]d`, gap), ada)
		for _, path := range []string{"/api/audit/replay?from=", "/api/audit/replay?follow=true&from=", "/api/audit/export?format=ndjson&after="} {
			from := func(position int64) string {
				if strings.Contains(path, "after") {
					position--
				}
				return path + fmt.Sprint(position)
			}
			if gap > 1 {
				body, whole := ada.readOut(t, from(1))
				if lines := int64(bytes.Count(body, []byte("\n"))); whole || lines != gap-1 || !bytes.HasSuffix(body, []byte("\n")) {
					t.Errorf("%s without %d: %d lines, whole: %v", path, gap, lines, whole)
				}
			}
			a := ada.call(t, "GET", from(gap), nil)
			a.problem(t, 409, "log_damaged")
			if !strings.Contains(string(a.body), fmt.Sprintf("position %d;", gap)) {
				t.Errorf("%s without %d: %s", path, gap, a.body)
			}
		}
		for _, format := range []string{"csv", "json"} {
			if gap == 1 {
				break // it does not begin
			}
			if body, whole := ada.readOut(t, "/api/audit/export?format="+format); whole || int64(bytes.Count(body, []byte("\n"))) < gap-1 {
				t.Errorf("%s without %d: whole: %v, %s", format, gap, whole, body)
			}
		}
		p.asSuperuser(t, `insert into event select * from gone; drop table gone`, ada)
	}
	if body, whole := ada.readOut(t, "/api/audit/replay"); !whole || int64(bytes.Count(body, []byte("\n"))) < end {
		t.Error("mended, it is not whole")
	}
}

// Whoever may read the log no more gets no half of it that passes for the whole.
func TestReplayOfWhoMayReadNoMore(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, true)[0]
	ada := p.signUp(t)
	bob := ada.member(t, "auditor")
	by := projections.Actor{Workspace: bob.workspace, Member: bob.id} // without the session, as if that had ended
	for _, follow := range []bool{false, true} {
		err := p.projections.Replay(t.Context(), by, 1, 1, follow, func(projections.Record) error { t.Error("a record"); return nil }, func() error { return nil })
		if (err == nil) != follow {
			t.Errorf("follow %v: %v", follow, err)
		}
	}
}
