package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// BenchmarkTouched signs up KLUIS_BENCH_WORKSPACES workspaces (100) at one server, with the connections that it has by default, and has somebody
// read a task, list tasks and create one in each of them, twice. Then it reports what the server and its Postgres processes have in memory (PSS), and how
// long a second server takes from its start until it is ready, all beside what it was with the first ten.
func BenchmarkTouched(b *testing.B) {
	n := 100
	if given, err := strconv.Atoi(os.Getenv("KLUIS_BENCH_WORKSPACES")); err == nil {
		n = given
	}
	for b.Loop() {
		url := pgtest.Database(b)
		h := sharedHome(b, url)
		h.env = append(h.env, "GOGC=100") // as it is when nobody says otherwise
		s := h.serve(b)
		var people []*client
		var tasks []string
		for len(people) < n {
			c := s.signUp(b, fmt.Sprintf("bench-%d", len(people)))
			people, tasks = append(people, c), append(tasks, c.task(b, "Something that somebody has to do"))
			clearMail(b, h)
			if len(people) == 10 {
				touched(b, s, url, people, tasks, "10")
			}
		}
		touched(b, s, url, people, tasks, "")
		s.stop(b)
	}
	b.ReportMetric(0, "ns/op")
}

func touched(b *testing.B, s *server, url string, people []*client, tasks []string, with string) {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	begun := time.Now()
	for range 2 {
		var asking sync.WaitGroup
		for first := range 16 {
			asking.Go(func() {
				for i := first; i < len(people); i += 16 {
					c := &client{url: s.url, token: people[i].token, http: &http.Client{Transport: transport}}
					for _, ask := range []struct {
						status             int
						method, path, body string
					}{
						{200, "GET", "/api/tasks/" + tasks[i], ""},
						{200, "GET", "/api/tasks?limit=50", ""},
						{201, "POST", "/api/tasks", `{"title": "Something else"}`},
					} {
						if r, err := c.do(ask.method, ask.path, ask.body); err != nil || r.status != ask.status {
							b.Errorf("%s %s: %d %s %v", ask.method, ask.path, r.status, r.body, err)
						}
					}
				}
			})
		}
		asking.Wait()
	}
	b.ReportMetric(float64(6*len(people))/time.Since(begun).Seconds(), "requests"+with+"/s")
	b.ReportMetric(float64(pgtest.Memory(b, url))/(1<<20), "postgres"+with+"-MB")
	b.ReportMetric(float64(pgtest.Resident(fmt.Sprintf("/proc/%d", s.cmd.Process.Pid)))/(1<<20), "server"+with+"-MB")
	begun = time.Now()
	second := s.serve(b)
	b.ReportMetric(time.Since(begun).Seconds()*1000, "ready"+with+"-ms")
	second.stop(b)
}

// clearMail removes what was mailed, so that looking for the next one looks at few.
func clearMail(b *testing.B, h *home) {
	b.Helper()
	files, _ := filepath.Glob(filepath.Join(h.data, "mail", "*.eml")) // the pattern is right
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			b.Fatal(err)
		}
	}
}
