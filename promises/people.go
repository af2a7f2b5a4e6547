package promises

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/eventstore"
	"github.com/kluis-eu/kluis/internal/mail"
	"github.com/kluis-eu/kluis/internal/pg"
)

// admitted is what sign-up, login and acceptance answer with.
type admitted struct {
	Workspace struct {
		ID               uuid.UUID
		Slug, Name, Plan string
	}
	Member    member
	Token     string
	ExpiresAt time.Time `json:"expires_at"`
}

type member struct {
	ID       uuid.UUID
	Email    string
	FullName string `json:"full_name"`
	Role     string
	Status   string
	Language string
	Version  int
}

// public is somebody without a token.
func (p *process) public() *client { return &client{process: p} }

// signUp makes a workspace and gives its first admin.
func (p *process) signUp(t tester) *client {
	t.Helper()
	slug := "w" + uuid.NewString()[:13]
	c := &client{process: p, slug: slug, email: "ada@" + slug + ".example", name: "Ada of " + slug, password: newPassword()}
	p.site.secret(c.email, c.name, c.password)
	code := object{"signup_id": c.askForWorkspace(t), "code": p.code(t, "signup_code", c.email)}
	in := c.call(t, "POST", "/api/signup/verify", code)
	for end := time.Now().Add(patience); in.status == 503 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // the machine is busy
		in = c.call(t, "POST", "/api/signup/verify", code)
	}
	c.enter(t, in.want(t, 201))
	return c
}

func (c *client) askForWorkspace(t tester) uuid.UUID {
	t.Helper()
	return decode[struct {
		SignupID uuid.UUID `json:"signup_id"`
	}](t, c.call(t, "POST", "/api/signup", c.wish()).want(t, 202)).SignupID
}

func (c *client) wish() object {
	return object{"workspace": object{"slug": c.slug, "name": "Works of " + c.slug}, "email": c.email, "full_name": c.name, "password": c.password}
}

// enter takes the token out of an answer.
func (c *client) enter(t tester, a reply) {
	t.Helper()
	in := decode[admitted](t, a)
	if in.Token == "" || in.Member.Status != domain.Active || in.Workspace.Slug != c.slug {
		t.Fatalf("%s: %s", a.what, a.body)
	}
	c.token, c.id, c.workspace = in.Token, in.Member.ID, pg.Workspace{ID: in.Workspace.ID}
	c.site.secret(c.token)
}

// invite invites a person who has not joined yet.
func (c *client) invite(t tester, role string) *client {
	t.Helper()
	name := "p" + uuid.NewString()[:13]
	m := &client{process: c.process, slug: c.slug, workspace: c.workspace,
		email: name + "@people.example", name: "Person " + name, password: newPassword()}
	c.site.secret(m.email, m.name, m.password)
	a := c.call(t, "POST", "/api/members", object{"email": m.email, "full_name": m.name, "role": role}).want(t, 201)
	m.id = decode[member](t, a).ID
	return m
}

// member invites a person, who joins.
func (c *client) member(t tester, role string) *client {
	t.Helper()
	m := c.invite(t, role)
	m.enter(t, m.accept(t, c.invitationCode(t, m), m.password).want(t, 201))
	return m
}

func (c *client) accept(t tester, code, password string) reply {
	t.Helper()
	return c.process.public().call(t, "POST", "/api/invitations/accept",
		object{"workspace": c.slug, "email": c.email, "code": code, "password": password})
}

func (c *client) logIn(t tester, password string) reply {
	t.Helper()
	return c.process.public().call(t, "POST", "/api/login", object{"workspace": c.slug, "email": c.email, "password": password})
}

func newPassword() string { return "correct horse " + uuid.NewString() }

// code waits for the newest mail of a template to an address, which nobody needs to send.
func (p *process) code(t tester, template, address string) string {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if code := p.enqueued(t, template, address); code != "" {
			p.site.secret(`"` + code + `"`)
			return code
		}
	}
	t.Fatalf("no mail %s to %s", template, address)
	return ""
}

func (p *process) enqueued(t tester, template, address string) string {
	t.Helper()
	if m := p.mail(t, template, address); m != nil {
		return m.Values["Code"]
	}
	return ""
}

// mail is the newest mail of a template to an address; nil when there is none.
func (p *process) mail(t tester, template, address string) *mail.Message {
	t.Helper()
	rows, _ := p.db.Pool().Query(context.Background(), `select args ->> 'sealed' from kluis_jobs.river_job where kind = 'mail' and args ? 'sealed' order by id desc`)
	for _, sealed := range must(pgx.CollectRows(rows, pgx.RowTo[string])) {
		var m mail.Message
		if err := json.Unmarshal(must(p.keys.Open("kluis/mail", sealed)), &m); err != nil {
			t.Fatal(err)
		}
		if m.Template == template && m.To == address {
			return &m
		}
	}
	return nil
}

// invitationCode is the code that the background mails, or would mail: without one its reaction is run here.
func (c *client) invitationCode(t tester, m *client) string {
	t.Helper()
	if !slices.ContainsFunc(c.site.processes, func(p *process) bool { return p.background }) {
		c.react(t, m.id)
	}
	return c.code(t, "invitation_code", m.email)
}

func (c *client) react(t tester, invited uuid.UUID) {
	t.Helper()
	var chosen eventstore.Chosen
	var records []eventstore.Record
	err := c.db.Read(context.Background(), c.workspace, eventstore.Newest(&chosen, eventstore.Filter{Types: []string{"member.invited"}}, 1000))
	if err == nil {
		err = c.db.Read(context.Background(), c.workspace, eventstore.At(&records, chosen.Positions))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		e := must(domain.Decode(r.Type, r.Data)).(domain.MemberInvited)
		if e.MemberID != invited {
			continue
		}
		if err := c.db.Control(context.Background(), func(tx pgx.Tx) error {
			return c.commands.SendInvitation(context.Background(), tx, c.workspace, e)
		}); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%s was not invited", invited)
}

// log is the workspace's whole log, which is checked for what always holds: positions without gaps up to the
// head, versions without gaps in each stream, times that never decrease.
func (c *client) log(t tester) (records []eventstore.Record) {
	t.Helper()
	ctx := context.Background()
	var head, pruned, count, last int64
	for try := 0; try == 0 || try < 20 && head != pruned+int64(len(records)); try++ { // what a process notes by itself may come meanwhile
		records = nil
		if _, err := c.store.Each(ctx, c.workspace, 0, func(r eventstore.Record) error {
			records = append(records, r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := c.db.Read(ctx, c.workspace, pg.Exec(`select position, pruned from head`).Scan(&head, &pruned),
			pg.Exec(`select count(*), max(position) from event where position > (select pruned from head)`).Scan(&count, &last)); err != nil {
			t.Fatal(err)
		}
	}
	if head != pruned+count || head != last || count != int64(len(records)) {
		t.Fatalf("head %d, pruned %d, count %d, last position %d, %d read", head, pruned, count, last, len(records))
	}
	versions := map[string]int{}
	for i, r := range records {
		if versions[r.Stream]++; pruned > 0 && versions[r.Stream] == 1 {
			versions[r.Stream] = r.Version
		}
		if r.Position != pruned+int64(i+1) || r.Version != versions[r.Stream] || i > 0 && r.At.Before(records[i-1].At) {
			t.Fatalf("record %d: position %d, version %d of %s at %s", i+1, r.Position, r.Version, r.Stream, r.At)
		}
	}
	return records
}

// head is the last position of the workspace's log.
func (c *client) head(t tester) (position int64) {
	t.Helper()
	if err := c.db.Read(context.Background(), c.workspace, pg.Exec(`select position from head`).Scan(&position)); err != nil {
		t.Fatal(err)
	}
	return position
}

// execSQL changes something in the workspace's tables that time would have changed; $1 is the client's session.
func (c *client) execSQL(t tester, sql string) {
	t.Helper()
	for _, s := range decode[list[session]](t, c.call(t, "GET", "/api/sessions", nil).want(t, 200)).Items {
		if !s.Current {
			continue
		}
		if err := c.db.Do(context.Background(), c.workspace, pg.Exec(sql, s.ID)); err != nil {
			t.Fatal(err)
		}
	}
}

// noDrift checks that the read models are what the log makes of them.
func (c *client) noDrift(t tester) {
	t.Helper()
	drifts, err := c.projections.Check(context.Background(), c.workspace, nil)
	if err != nil || drifts != nil {
		t.Errorf("drift: %v, %v", drifts, err)
	}
}
