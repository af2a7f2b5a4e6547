package promises

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"

	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/projections"
)

// Nothing sensitive is in clear: wherever somebody puts a marker that is to be sealed, it is nowhere in the database,
// whole or in base64 or hexadecimal, nor in the log, nor among jobs and signals.
func TestMarkersAreNowhereInClear(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	mark := func(what string) string { return "MARKER-" + what + "-" + uuid.NewString()[:8] }
	agent := "User-Agent: " + mark("agent")
	var markers []string
	marked := func(text string) string {
		markers = append(markers, text)
		return text
	}
	marked(strings.TrimPrefix(agent, "User-Agent: "))

	// A sign-up that waits, and one that was verified.
	pending := &client{process: p, slug: "w" + uuid.NewString()[:13], name: marked(mark("pending-name")), password: marked(mark("pending-password")),
		email: strings.ToLower(marked(mark("pending-mail"))) + "@example.org"}
	pending.call(t, "POST", "/api/signup", pending.wish(), agent).want(t, 202)
	ada := p.signUp(t)
	markers = append(markers, ada.email, ada.name, ada.password, ada.token)

	// A member who joined, and one who was only invited.
	eve := ada.member(t, "auditor")
	bob := ada.invite(t, "member")
	markers = append(markers, eve.email, eve.name, bob.email, bob.name)
	ada.invitationCode(t, bob)

	// Two factors: those of one are on, those of the other only proposed.
	d := eve.enrol(t)
	markers = append(append(markers, d.secret), d.recovery...)
	eve.logInWith(t, eve.password, d.recovery[0]).want(t, 200)
	for _, code := range d.recovery {
		markers = append(markers, strings.ReplaceAll(code, "-", ""))
	}
	proposed := decode[struct{ Secret string }](t, ada.call(t, "POST", "/api/me/two-factor", object{"password": ada.password}, agent).want(t, 201))
	markers = append(markers, proposed.Secret)
	for _, secret := range []string{d.secret, proposed.Secret} {
		markers = append(markers, string(must(base32.StdEncoding.DecodeString(secret))))
	}

	// The tokens of an integration, and of a member.
	access, refresh := marked(mark("access")), marked(mark("refresh"))
	a := ada.call(t, "POST", "/api/integrations", object{"provider": "github", "name": "Repositories", "access_token": access,
		"refresh_token": refresh, "expires_at": "2030-01-02T03:04:05Z", "scopes": []string{"repo"}}, agent, "Idempotency-Key: k").want(t, 201)
	if s := string(a.body); strings.Contains(s, access) || strings.Contains(s, refresh) {
		t.Errorf("the answer shows a token: %s", s)
	}
	made := decode[object](t, ada.call(t, "POST", "/api/tokens", object{"name": "script", "expires_at": time.Now().Add(time.Hour)}, agent).want(t, 201))
	markers = append(markers, made["token"].(string))
	ada.call(t, "POST", "/api/tasks", object{"title": "x"}, agent).want(t, 201)

	places := map[string]string{"the log": p.log.String(), "the dump of all rows": dumpRows(t, p.site.url)}
	if dump := pgDump(t, p.site.url); dump != "" {
		places["pg_dump"] = dump
	}
	for place, text := range places {
		lower := strings.ToLower(text)
		for _, m := range markers {
			for form, coded := range map[string]string{"": m, "in base64": base64.StdEncoding.EncodeToString([]byte(m))[:12],
				"in hexadecimal": hex.EncodeToString([]byte(m))} {
				if strings.Contains(lower, strings.ToLower(coded)) {
					t.Errorf("%s holds %q %s", place, m, form)
				}
			}
		}
	}
	// The search finds what is there.
	if rows := places["the dump of all rows"]; !strings.Contains(rows, "Repositories") || !strings.Contains(rows, "gAAAA") || !strings.Contains(rows, ada.slug) {
		t.Error("the dump lacks what is in clear")
	}
	// And the address of the client, which a test cannot choose, is there sealed only.
	for _, r := range ada.log(t) {
		if bytes.Contains(r.AppendLine(nil), []byte("127.0.0.1")) {
			t.Errorf("an address in clear: %s", r.AppendLine(nil))
		}
	}
}

// dumpRows is every row of every table that is not Postgres' own, as text.
func dumpRows(t *testing.T, url string) string {
	t.Helper()
	tables, dump := rowsOf(t, url)
	if tables < 20 || !strings.Contains(dump, "kluis_jobs.river_job") || !strings.Contains(dump, "kluis.signal") {
		t.Fatalf("only %d tables, or no jobs and signals", tables)
	}
	return dump
}

// rowsOf is every row, and of how many tables.
func rowsOf(t *testing.T, url string) (tables int, rows string) {
	t.Helper()
	ctx := t.Context()
	conn := must(pgx.Connect(ctx, pgtest.Superuser(t, url)))
	defer conn.Close(ctx)
	found, _ := conn.Query(ctx, `select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables
		where schemaname not in ('pg_catalog', 'information_schema')`)
	names := must(pgx.CollectRows(found, pgx.RowTo[string]))
	var dump strings.Builder
	for _, table := range names {
		found, _ := conn.Query(ctx, "select t::text from "+table+" t")
		for _, row := range must(pgx.CollectRows(found, pgx.RowTo[string])) {
			dump.WriteString(table + " " + row + "\n")
		}
	}
	return len(names), dump.String()
}

// pgDump is what pg_dump makes of the database; empty where there is no such program.
func pgDump(t *testing.T, url string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
	if path, err := exec.LookPath("pg_dump"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Log("no pg_dump here: the rows were looked at by hand only")
		return ""
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), found[len(found)-1], "--dbname", pgtest.Superuser(t, url))
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Logf("pg_dump: %v: %s", err, problems.String())
		return ""
	}
	if !strings.Contains(out.String(), "gAAAA") {
		t.Error("pg_dump dumped nothing")
	}
	return out.String()
}

// hidden is a process whose log may hold errors.
func (s *site) hidden(t *testing.T) *process {
	t.Helper()
	p := &process{site: s, log: &logBuffer{}}
	p.open(t, slog.New(slog.NewJSONHandler(p.log, nil)), patient)
	t.Cleanup(func() { p.store.Close(); p.db.Close() })
	return p
}

// Who may read the log sees where each request came from. A replay has the same bytes that were stored.
func TestOrigins(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	bob := ada.member(t, "auditor")
	agent := "curl/8 " + uuid.NewString()
	position := ada.call(t, "POST", "/api/tasks", object{"title": "x"}, "User-Agent: "+agent).want(t, 201).position(t)
	silent := ada.call(t, "POST", "/api/tasks", object{"title": "x"}, "User-Agent: ").want(t, 201).position(t)

	type origin struct {
		IP    string `json:"ip"`
		Agent string `json:"user_agent"`
	}
	type shown struct {
		Position int64
		Meta     *origin
	}
	metas := map[int64]*origin{}
	for _, r := range pages[shown](t, bob, "/api/audit/events", 50) {
		metas[r.Position] = r.Meta
	}
	if m := metas[position]; m == nil || *m != (origin{"127.0.0.1", agent}) {
		t.Errorf("meta %+v, want the address and %q", m, agent)
	}
	if m := metas[silent]; m == nil || *m != (origin{"127.0.0.1", ""}) {
		t.Errorf("without an agent: %+v", m)
	}
	replay := string(bob.call(t, "GET", fmt.Sprint("/api/audit/replay?from=", position), nil).want(t, 200).body)
	if strings.Contains(replay, agent) || strings.Contains(replay, "127.0.0.1") || !strings.Contains(replay, `"meta":{"ip":"gAAAA`) {
		t.Errorf("replayed %s", replay)
	}
	for _, r := range ada.log(t) {
		if m := metas[r.Position]; m == nil || m.IP != "127.0.0.1" {
			t.Errorf("%s at position %d came from %+v", r.Type, r.Position, m)
		}
		if r.Position == position && !strings.HasPrefix(replay, string(r.AppendLine(nil))+"\n") {
			t.Errorf("replayed %s, stored %s", replay, r.AppendLine(nil))
		}
	}
}

// A sealed value in another row, of the same workspace or of another, does not open: nothing of it is shown, and it
// is reported.
func TestMovedValuesAreNotShown(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada, eve := p.signUp(t), p.signUp(t)
	bob := ada.member(t, "member")
	quiet := p.site.hidden(t)
	superuser := must(pgx.Connect(t.Context(), pgtest.Superuser(t, p.site.url)))
	defer superuser.Close(context.Background())
	alter := func(sql string, args ...any) {
		t.Helper()
		if _, err := superuser.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(c *client, secret string) uuid.UUID {
		return decode[domain.Integration](t, c.call(t, "POST", "/api/integrations",
			object{"provider": "x", "name": "x", "access_token": secret, "refresh_token": secret}).want(t, 201)).ID
	}
	one, two, far := connect(ada, "secret-one"), connect(ada, "secret-two"), connect(eve, "secret-far")
	if got, err := quiet.commands.IntegrationSecrets(t.Context(), ada.workspace, one); err != nil || got.Access != "secret-one" || got.Refresh != "secret-one" {
		t.Fatalf("%+v, %v", got, err)
	}

	own, other := ada.workspace.Schema(), eve.workspace.Schema()
	for name, from := range map[string]string{
		"from another integration":                    "select access_token from " + own + ".integration_secret where integration_id = '" + two.String() + "'",
		"from another field":                          "select refresh_token from " + own + ".integration_secret where integration_id = '" + one.String() + "'",
		"from another workspace":                      "select access_token from " + other + ".integration_secret where integration_id = '" + far.String() + "'",
		"a member's name":                             "select full_name from " + own + ".member where id = '" + ada.id.String() + "'",
		"cut off":                                     "select left(access_token, 60) from " + own + ".integration_secret where integration_id = '" + one.String() + "'",
		"not sealed at all, by who could not seal it": "select 'secret-made-up'",
	} {
		alter("create temp table kept as select * from " + own + ".integration_secret")
		alter("update "+own+".integration_secret set access_token = ("+from+") where integration_id = $1", one)
		got, err := quiet.commands.IntegrationSecrets(t.Context(), ada.workspace, one)
		if err == nil || got.Access != "" || got.Refresh != "" || strings.Contains(err.Error(), "secret-") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		alter("update " + own + ".integration_secret s set access_token = kept.access_token from kept where kept.integration_id = s.integration_id")
		alter("drop table kept")
	}
	if got, err := quiet.commands.IntegrationSecrets(t.Context(), ada.workspace, one); err != nil || got.Access != "secret-one" {
		t.Fatalf("put back: %+v, %v", got, err)
	}

	// The name of one member in the row of another; and one of another workspace.
	for name, from := range map[string]string{
		"another member":    "select full_name from " + own + ".member where id = '" + ada.id.String() + "'",
		"another workspace": "select full_name from " + other + ".member where id = '" + eve.id.String() + "'",
	} {
		alter("update "+own+".member set full_name = ("+from+") where id = $1", bob.id)
		before := len(quiet.log.String())
		m := must(quiet.projections.MemberByID(t.Context(), ada.workspace, bob.id))
		people := must(quiet.commands.OpenMembers(t.Context(), ada.workspace, []domain.Member{m}))
		if person, there := people[bob.id]; there {
			t.Errorf("the name of %s: %+v", name, person)
		}
		if reported := quiet.log.String()[before:]; !strings.Contains(reported, bob.id.String()) || strings.Contains(reported, ada.name) || strings.Contains(reported, eve.name) {
			t.Errorf("the name of %s is reported as %q", name, reported)
		}
	}

	// Where another member's request came from, put to this one's.
	ada.call(t, "POST", "/api/tasks", object{"title": "x"}, "User-Agent: agent-of-ada").want(t, 201)
	moved := bob.call(t, "POST", "/api/tasks", object{"title": "x"}, "User-Agent: agent-of-bob").want(t, 201).position(t)
	alter("update "+own+".event set meta = (select meta from "+own+".event where position = $1) where position = $2", moved-1, moved)
	records, _, _, err := quiet.projections.ListRecords(t.Context(), must(quiet.commands.Authenticate(t.Context(), ada.token)), projections.Filter{Before: moved + 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	origins := must(quiet.commands.OpenOrigins(t.Context(), ada.workspace, records[:1]))
	if origins[0].UserAgent != "" || origins[0].IP.IsValid() {
		t.Errorf("shown: %+v", origins[0])
	}
	if !strings.Contains(quiet.log.String(), fmt.Sprintf(`"position":%d`, moved)) || strings.Contains(quiet.log.String(), "agent-of") {
		t.Errorf("reported as %s", quiet.log.String())
	}
}

// Whoever is erased leaves nothing of where they asked from.
func TestErasedOrigins(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	bob := ada.member(t, "member")
	position := bob.call(t, "POST", "/api/tasks", object{"title": "x"}, "User-Agent: agent-of-bob").want(t, 201).position(t)
	if err := p.db.Own(t.Context(), ada.workspace.Schema(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `delete from data_key where subject = $1`, bob.id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	later := p.site.newProcess(t, false) // which remembers no keys
	a := ada.on(later).call(t, "GET", "/api/audit/events?limit=1", nil).want(t, 200)
	var list struct {
		Items []struct {
			Position int64
			Meta     json.RawMessage
		}
	}
	if err := json.Unmarshal(a.body, &list); err != nil || len(list.Items) != 1 || list.Items[0].Position != position || string(list.Items[0].Meta) != "null" {
		t.Errorf("%v, %s", err, a.body)
	}
}
