package promises

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/kluis-eu/kluis/cmd/app"
	"github.com/kluis-eu/kluis/internal/pgtest"
)

// BenchmarkHTTP compares requests to a whole process with the floor: a bare echo handler that looks a session up and then selects
// or inserts one row, or selects 50, through as many connections to the same server. The two take turns; the ratios are
// the medians of the rounds. Then the same over many workspaces, each request in the next one, as a ratio to the rate at one.
// KLUIS_BENCH_WORKSPACES is how many there are at most, 256 unless set.
func BenchmarkHTTP(b *testing.B) {
	most := 256
	if text := os.Getenv("KLUIS_BENCH_WORKSPACES"); text != "" {
		most, _ = strconv.Atoi(text)
	}
	app.LoadBallast() // as serve does, for both
	p := newSite(b).newProcess(b, true)
	floor := newFloor(b, p)
	var people []*client
	var paths []string
	for _, workspaces := range []int{1, 16, 256, 1000} {
		if workspaces > most {
			break
		}
		for len(people) < workspaces {
			someone := p.signUp(b)
			task := someone.newTask(b)
			people, paths = append(people, someone), append(paths, taskPath(task))
			for range 60 / (len(people) * len(people)) { // the first has some for the list
				someone.newTask(b)
			}
		}
		for _, op := range []operation{
			{"get", 200, func(n int) (string, string, string, string) { return "GET", paths[n], people[n].token, "" }},
			{"list", 200, func(n int) (string, string, string, string) {
				return "GET", "/api/tasks?limit=50", people[n].token, ""
			}},
			{"post", 201, func(n int) (string, string, string, string) {
				return "POST", "/api/tasks", people[n].token, `{"title":"Something that somebody has to do before the end of the week"}`
			}},
		} {
			for _, clients := range []int{32, 128} {
				if workspaces > 1 && clients > 32 || workspaces > 1 && op.name == "list" {
					continue
				}
				b.Run(fmt.Sprintf("%s/workspaces=%d/clients=%d", op.name, workspaces, clients), func(b *testing.B) {
					for b.Loop() {
						against := floor.url
						if workspaces > 1 {
							against = ""
						}
						measure(b, p, against, op, workspaces, clients)
					}
				})
			}
		}
	}
}

// operation is what is asked for, in the n-th workspace.
type operation struct {
	name   string
	status int
	ask    func(n int) (method, path, token, body string)
}

// measure reports the rate at ours over so many workspaces, and its ratio: to the floor's, or, without one, to its own in the first
// workspace alone.
//
// go-us and pg-us are the processor time of a request, in microseconds: of this process, which is the client as well, and of
// Postgres. A loaded machine disturbs them least.
func measure(b *testing.B, p *process, floor string, op operation, workspaces, clients int) {
	b.Helper()
	other, name := floor, "floor"
	others := workspaces
	if floor == "" {
		other, name, others = p.url, "one", 1
	}
	requests(b, p.url, op, workspaces, clients) // warm
	var ratios, rates, otherRates []float64
	var slow, otherSlow []time.Duration
	var spent, otherSpent processor
	for range 3 {
		rate, p99 := spent.during(b, p, func() (float64, time.Duration, int) { return requests(b, p.url, op, workspaces, clients) })
		otherRate, otherP99 := otherSpent.during(b, p, func() (float64, time.Duration, int) { return requests(b, other, op, others, clients) })
		ratios, rates, otherRates = append(ratios, rate/otherRate), append(rates, rate), append(otherRates, otherRate)
		slow, otherSlow = append(slow, p99), append(otherSlow, otherP99)
	}
	b.ReportMetric(middle(ratios), "x")
	b.ReportMetric(middle(rates), "requests/s")
	b.ReportMetric(middle(otherRates), name+"/s")
	b.ReportMetric(middle(slow).Seconds()*1000, "p99-ms")
	b.ReportMetric(middle(otherSlow).Seconds()*1000, name+"-p99-ms")
	b.ReportMetric(spent.ours/spent.n, "go-us")
	b.ReportMetric(spent.postgres/spent.n, "pg-us")
	b.ReportMetric(otherSpent.ours/otherSpent.n, name+"-go-us")
	b.ReportMetric(otherSpent.postgres/otherSpent.n, name+"-pg-us")
	b.ReportMetric(0, "ns/op")
}

// processor is the processor time of n requests, in microseconds.
type processor struct{ n, ours, postgres float64 }

// during counts what do takes.
func (c *processor) during(b *testing.B, p *process, do func() (rate float64, p99 time.Duration, n int)) (rate float64, p99 time.Duration) {
	b.Helper()
	ours, postgres := pgtest.CPU(b, p.db.Pool().Config().ConnString())
	rate, p99, n := do()
	oursAfter, postgresAfter := pgtest.CPU(b, p.db.Pool().Config().ConnString())
	c.n += float64(n)
	c.ours += float64((oursAfter - ours).Microseconds())
	c.postgres += float64((postgresAfter - postgres).Microseconds())
	return rate, p99
}

func middle[T float64 | time.Duration](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// requests lets clients ask for one turn, each the next workspace after each answer.
func requests(b *testing.B, url string, op operation, workspaces, clients int) (rate float64, p99 time.Duration, n int) {
	b.Helper()
	turn := 2 * time.Second
	if text := os.Getenv("KLUIS_BENCH_TURN"); text != "" {
		turn, _ = time.ParseDuration(text)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	var mu sync.Mutex
	var all []time.Duration
	var running sync.WaitGroup
	begun := time.Now()
	for c := range clients {
		running.Go(func() {
			var took []time.Duration
			for n := c; time.Since(begun) < turn; n += clients {
				asked := time.Now()
				if err := send(transport, url, op, n%workspaces); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(asked))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	running.Wait()
	if len(all) == 0 {
		b.Fatal("no answers")
	}
	slices.Sort(all)
	return float64(len(all)) / time.Since(begun).Seconds(), all[len(all)*99/100], len(all)
}

func send(transport *http.Transport, url string, op operation, workspace int) error {
	method, path, token, body := op.ask(workspace)
	r, err := http.NewRequest(method, url+path, strings.NewReader(body)) //nolint:noctx // bounded by the turn
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	a, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != op.status {
		answer, err := io.ReadAll(a.Body)
		return fmt.Errorf("%s %s: %d %s, %w", method, path, a.StatusCode, answer, err)
	}
	_, err = io.Copy(io.Discard, a.Body) // keeping it would cost more than some answers do
	return err
}

// floor is what any server has to do.
type floor struct {
	url  string
	pool *pgxpool.Pool
}

func newFloor(b *testing.B, p *process) *floor {
	b.Helper()
	ctx := context.Background()
	if err := p.db.Control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `create schema floor;
			create table floor.session (digest bytea primary key, member uuid not null);
			create table floor.task (id uuid primary key, title text not null, made_by uuid not null, at timestamptz not null default now());
			insert into floor.task select gen_random_uuid(), 'Something that somebody has to do before the end of the week', gen_random_uuid() from generate_series(1, 60)`)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	config := p.db.Pool().Config()
	config.MaxConns = processConns
	f := &floor{pool: must(pgxpool.NewWithConfig(ctx, config))}
	b.Cleanup(f.pool.Close)
	e := echo.New()
	e.GET("/api/tasks/:id", f.answer(200, `select row_to_json(t)::text from (select * from floor.task where $1::uuid is not null order by id limit 1) t`))
	e.GET("/api/tasks", f.answer(200, `select json_agg(t)::text from (select * from floor.task where $1::uuid is not null order by id desc limit 50) t`))
	e.POST("/api/tasks", f.answer(201, `insert into floor.task (id, title, made_by) values (gen_random_uuid(), 'Something that somebody has to do before the end of the week', $1)
		returning row_to_json(task)::text`))
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	f.url = "http://" + listener.Addr().String()
	server := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	return f
}

// answer looks the session up, making it when it is new, and answers with what the query gives.
func (f *floor) answer(status int, query string) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx := c.Request().Context()
		digest := sha256.Sum256([]byte(c.Request().Header.Get("Authorization")))
		var member uuid.UUID
		err := f.pool.QueryRow(ctx, `select member from floor.session where digest = $1`, digest[:]).Scan(&member)
		if err != nil {
			member = uuid.New()
			_, err = f.pool.Exec(ctx, `insert into floor.session values ($1, $2) on conflict do nothing`, digest[:], member)
		}
		if err != nil {
			return err
		}
		if body, err := io.ReadAll(c.Request().Body); err != nil || len(bytes.TrimSpace(body)) == 0 && status == 201 {
			return echo.ErrBadRequest
		}
		var answer string
		//sqlcheck:allow constants of newFloor
		if err := f.pool.QueryRow(ctx, query, member).Scan(&answer); err != nil {
			return err
		}
		return c.JSONBlob(status, []byte(answer))
	}
}
