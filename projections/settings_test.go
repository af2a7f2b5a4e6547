package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
)

// setting is a setting that a login can set, as pg_settings describes it.
type setting struct {
	Name, Vartype, Now string
	Lowest, Highest    *string
	Values             []string
}

// spared are the settings that the sweep leaves out, because they change the meaning of statements or fill the log of the tests' server.
var spared = []string{
	"default_transaction_read_only",                                            // it makes the database read-only on purpose: see pg.ReadOnlyNow
	"transaction_read_only", "transaction_isolation", "transaction_deferrable", // settings of one transaction
	"local_preload_libraries", // a missing library ends every connection
	"debug_print_plan", "debug_print_parse", "debug_print_rewritten", "trace_notify", "trace_sort", "log_statement_stats",
}

// hostileTexts are hostile values for settings that accept any text.
var hostileTexts = map[string]string{
	"client_encoding": "LATIN1", "DateStyle": "German, DMY", "TimeZone": "Asia/Kathmandu", "IntervalStyle": "iso_8601",
	"search_path": "pg_catalog, hostile", "lc_monetary": "C.UTF-8", "lc_numeric": "C.UTF-8", "lc_time": "C.UTF-8",
	"default_text_search_config": "pg_catalog.german", "application_name": "hostile'\"", "timezone_abbreviations": "India",
	"default_tablespace": "none_such", "temp_tablespaces": "none_such", "role": "kluis_nobody",
}

// hostile gives a value as far as possible from the present one: the lowest or the highest.
func (s setting) hostile(high bool) (value string, is bool) {
	if slices.Contains(spared, s.Name) || strings.Contains(s.Name, ".") {
		return "", false
	}
	if text, is := hostileTexts[s.Name]; is {
		return text, s.Name != "role"
	}
	switch s.Vartype {
	case "bool":
		return map[string]string{"on": "off", "off": "on"}[s.Now], true
	case "integer", "real":
		if high {
			return *s.Highest, true
		}
		return *s.Lowest, true
	case "enum":
		others := slices.DeleteFunc(s.Values, func(v string) bool { return v == s.Now || strings.HasPrefix(v, "debug") || v == "log" || v == "notice" })
		if len(others) == 0 {
			return "", false
		}
		if high {
			return others[len(others)-1], true
		}
		return others[0], true
	}
	return "", false
}

// No setting of the login, the database or the server changes what is stored or answered. The test sets every setting that a user can set to its
// lowest and then to its highest value, plays the whole life of a workspace, and compares with the answers to a plain login.
func TestSettingsOfTheLogin(t *testing.T) {
	t.Parallel()
	for _, high := range []bool{false, true} {
		p := newProcess(t)
		admin := p.superuser(t)
		role, database := parts(t, p.url)
		rows, _ := admin.Query(t.Context(), `select name, vartype, setting as now, min_val as lowest, max_val as highest, coalesce(enumvals, '{}') as values
			from pg_settings where context = 'user' order by name`)
		all, err := pgx.CollectRows(rows, pgx.RowToStructByName[setting])
		if err != nil {
			t.Fatal(err)
		}
		swept := 0
		for _, s := range all {
			value, is := s.hostile(high)
			if !is {
				continue
			}
			sql := fmt.Sprintf(`alter role %s in database %s set %s = %s`, role, database, pgx.Identifier{s.Name}.Sanitize(), quoted(value))
			if _, err := admin.Exec(t.Context(), sql); err != nil {
				t.Logf("not swept: %v: %s", err, sql)
				continue
			}
			swept++
		}
		if swept < 45 {
			t.Errorf("only %d settings of %d were swept", swept, len(all))
		}
		q := start(t, p.url, Bound)
		var found int
		if err := q.db.Pool().QueryRow(t.Context(), `select count(*) from pg_settings where source in ('user', 'database user')`).Scan(&found); err != nil || found < 30 {
			t.Errorf("%d settings are in force, %v: the sweep does not reach the connections", found, err)
		}
		by, lived := q.live(t)
		if _, err := admin.Exec(t.Context(), fmt.Sprintf(`alter role %s in database %s reset all`, role, database)); err != nil {
			t.Fatal(err)
		}
		plain := start(t, p.url, Bound)
		if d := cmp.Diff(plain.answers(t, by), lived); d != "" {
			t.Errorf("high %v: a plain login reads something else (-plain +swept):\n%s", high, d)
		}
		if d := plain.differences(t, by.Workspace); d != "" {
			t.Errorf("high %v: the rows are not what the log makes of them:\n%s", high, d)
		}
		if !strings.Contains(lived["list"], jsonOf(t, hardTitle+"!")) || !strings.Contains(lived["list"], "2026-03-04") {
			t.Errorf("high %v: not what was written: %s", high, lived["list"])
		}
		t.Logf("high %v: %d settings", high, swept)
	}
}

const hardTitle = `Zürich 😀 Łódź \ 'x' \u0041`

// live plays a workspace's life and gives the answers at the end.
func (p *process) live(t *testing.T) (Actor, map[string]string) {
	t.Helper()
	by := p.found(t)
	due := domain.Date("2026-03-04")
	id := uuid.Must(uuid.NewV7())
	p.append(t, by.Workspace, by.Member, domain.TaskStream(id), 0,
		domain.TaskCreated{Title: hardTitle, Status: "open", Priority: "none", DueOn: &due, AssigneeIDs: []uuid.UUID{by.Member}})
	title := hardTitle + "!"
	p.append(t, by.Workspace, by.Member, domain.TaskStream(id), 1, domain.TaskUpdated{Title: &title})
	p.append(t, by.Workspace, by.Member, domain.CommentStream(uuid.Must(uuid.NewV7())), 0, domain.CommentCreated{TaskID: id, Body: hardTitle})
	for i := range 30 {
		p.task(t, by, fmt.Sprint(i))
	}
	answers := p.answers(t, by)
	if drifts, err := p.Check(minute(t), by.Workspace, nil); err != nil || drifts != nil {
		t.Errorf("rebuild --check: %v, %v", drifts, err)
	}
	if _, err := p.Rebuild(minute(t), by.Workspace, nil); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(answers, p.answers(t, by)); d != "" {
		t.Errorf("after a rebuild (-before +after):\n%s", d)
	}
	return by, answers
}

// answers gives a workspace's answer to each kind of query.
func (p *process) answers(t *testing.T, by Actor) map[string]string {
	t.Helper()
	answers := map[string]string{}
	tasks, mark, err := p.ListTasks(minute(t), by, TaskFilter{}, Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	answers["list"], answers["mark"] = jsonOf(t, tasks), fmt.Sprintf("%+v", mark)
	members, _, err := Members.List(minute(t), p.Projections, by, Page{Limit: 100}, nil)
	if err != nil {
		t.Fatal(err)
	}
	answers["members"] = jsonOf(t, members)
	for _, task := range tasks {
		history, _, err := Tasks.History(minute(t), p.Projections, by, task.ID, Place{}, 200)
		if err != nil {
			t.Fatal(err)
		}
		answers["history"] += jsonOf(t, history)
		then, _, err := Tasks.AsOf(minute(t), p.Projections, by, task.ID, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		answers["as of"] += jsonOf(t, then)
	}
	if _, err := p.store.Each(context.Background(), by.Workspace, 0, func(r eventstore.Record) error {
		answers["replay"] += string(r.AppendLine(nil)) + "\n"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return answers
}

func parts(t *testing.T, address string) (role, database string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return pgx.Identifier{u.User.Username()}.Sanitize(), pgx.Identifier{strings.TrimPrefix(u.Path, "/")}.Sanitize()
}

// quoted gives a text as an SQL literal, and a list of names as several.
func quoted(value string) string {
	if value == hostileTexts["search_path"] {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", "''") + "'"
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
