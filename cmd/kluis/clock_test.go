package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// On a machine whose clock is a year ahead nothing ends early: sessions, exports and files stay, a mail goes out, an erasure that is due is done and one that
// is not due is not, and nothing is pruned. This needs a program that is compiled with another standard library: see make chaos.
func TestAYearAhead(t *testing.T) {
	if chaosTime(t) < 5*time.Minute {
		t.Skip("only with KLUIS_CHAOS=5m or more")
	}
	h := privateHome(t)
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	file := ann.attach(t, "a plan")
	var x struct{ ID, Status string }
	decode(t, ann.want(t, http.StatusAccepted, "POST", "/api/export", "{}").body, &x)
	until(t, "the export is made", func() bool {
		decode(t, ann.want(t, http.StatusOK, "GET", "/api/export/"+x.ID, "").body, &x)
		return x.Status == "done"
	})
	h.must(t, "workspace", "erase", "--confirm", "acme", "acme") // in 72 hours
	s.stop(t)

	wrong := h.with(wrongClock(t))
	wrong.env = append(wrong.env, "CLOCK_STEP_SECONDS=31536000")
	s = wrong.serve(t)
	bob := s.signUp(t, "other") // which takes a mail
	bob.task(t, "a year ahead")
	if status, _, stderr := wrong.run("retention", "run"); status != failure || !strings.Contains(stderr, "nothing is pruned") {
		t.Errorf("retention: %d, %s", status, stderr)
	}
	short := *wrong
	short.env = append(short.env, "KLUIS_ERASURE_GRACE=100ms")
	short.must(t, "workspace", "erase", "--confirm", "other", "other")
	until(t, "the server has erased the other workspace", func() bool {
		status, _, _ := h.run("workspace", "certificate", "other")
		return status == success
	})
	ann = ann.at(s)
	if r := ann.want(t, http.StatusOK, "GET", file, ""); string(r.body) != "a plan" {
		t.Errorf("the file holds %q", r.body)
	}
	ann.want(t, http.StatusOK, "GET", "/api/export/"+x.ID+"/content", "")
	(&client{}).at(s).want(t, http.StatusOK, "POST", "/api/login", loginAs("acme"))
}
