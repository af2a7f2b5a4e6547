package main

import (
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

var metricName = regexp.MustCompile(`\bkluis_[a-z_]+[a-z]\b`)

// scrape is an answer of /metrics.
func (s *server) scrape(t *testing.T) string {
	t.Helper()
	answer := (&client{}).at(s).want(t, http.StatusOK, "GET", "/metrics", "")
	if media := answer.header.Get("Content-Type"); media != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("media type %q", media)
	}
	return string(answer.body)
}

// value gives a metric of a scrape; 0 when it is missing.
func value(scrape, series string) float64 {
	_, rest, _ := strings.Cut("\n"+scrape, "\n"+series+" ")
	line, _, _ := strings.Cut(rest, "\n")
	v, _ := strconv.ParseFloat(line, 64)
	return v
}

// The metrics count what happened, and no metric names a workspace or a person.
func TestMetrics(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	id := ann.task(t, "one")
	ann.want(t, http.StatusOK, "PATCH", "/api/tasks/"+id, `{"title": "one"}`)
	ann.want(t, http.StatusNotFound, "PATCH", "/api/tasks/01900000-0000-7000-8000-000000000001", `{"title": "one"}`)
	ann.want(t, http.StatusOK, "GET", "/api/tasks/"+id, "")
	scrape := s.scrape(t)
	for series, want := range map[string]float64{
		`kluis_commands_total{outcome="done"}`:                                          1,
		`kluis_commands_total{outcome="nothing"}`:                                       1,
		`kluis_commands_total{outcome="refused"}`:                                       1,
		`kluis_http_requests_total{method="POST",route="/api/tasks",status="201"}`:      1,
		`kluis_http_requests_total{method="PATCH",route="/api/tasks/:id",status="404"}`: 1,
		`kluis_http_request_seconds_count{method="GET",route="/api/tasks/:id"}`:         1,
		`kluis_workspaces{status="active"}`:                                             1,
		`kluis_up`:                                                                      1,
		`kluis_build_info{version="` + version + `"}`:                                   1,
	} {
		if got := value(scrape, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	if value(scrape, `kluis_events_folded_total`) < 3 || value(scrape, `kluis_events_appended_total`) < 1 || value(scrape, `kluis_append_batch_count`) < 1 ||
		value(scrape, `kluis_fold_lag_seconds_count`) < 1 || value(scrape, `kluis_pool_connections_max`) < 2 {
		t.Errorf("something is not counted:\n%s", scrape)
	}
	for _, secret := range []string{"acme", "Ann", id, ann.token, "example", "127.0.0.1"} {
		if strings.Contains(scrape, secret) {
			t.Errorf("the metrics name %q", secret)
		}
	}
}

// A client in a distant network learns nothing, not even that there are metrics.
func TestMetricsAreForNeighbours(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t, "--trusted-proxies=127.0.0.1/32")
	for from, want := range map[string]int{"203.0.113.7": http.StatusNotFound, "2001:db8::1": http.StatusNotFound, "10.1.2.3": http.StatusOK, "fd00::1": http.StatusOK, "": http.StatusOK} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if from != "" {
			request.Header.Set("X-Forwarded-For", from)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("from %q: %d, want %d", from, answer.StatusCode, want)
		}
	}
}

// The dashboard and the alerts ask for metrics that there are, and the dashboard for every one; docs/operations.md says what to do at
// each alert.
func TestDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	s.signUp(t, "acme").task(t, "one")
	there := map[string]bool{}
	for line := range strings.Lines(s.scrape(t)) {
		if name, found := strings.CutPrefix(line, "# TYPE "); found && strings.HasPrefix(name, "kluis_") {
			there[strings.Fields(name)[0]] = true
		}
	}
	for _, name := range []string{"kluis_jobs", "kluis_workspaces_failing", "kluis_witness_cosigned_total", "kluis_witness_failures_total", "kluis_witness_waiting", "kluis_witness_logs_gone_back"} {
		there[name] = true // shown while there are any
	}
	read := func(name string) string {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	dashboard, alerts := read("deploy/grafana.json"), read("deploy/alerts.yaml")
	shown := map[string]bool{}
	for _, name := range metricName.FindAllString(dashboard+alerts, -1) {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if shown[base] = true; !there[base] && !there[name] {
			t.Errorf("there is no metric %s", name)
		}
	}
	for name := range there {
		if !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	operations := read("operations.md")
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(alerts, -1) {
		if !strings.Contains(operations, "`"+alert[1]+"`") {
			t.Errorf("docs/operations.md does not say what to do at %s", alert[1])
		}
	}
}
