package promises

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/mail"
)

// mails are those that were taken in for an address, the oldest first.
func (p *process) mails(t *testing.T, template, address string) (found []mail.Message) {
	t.Helper()
	rows, _ := p.db.Pool().Query(context.Background(), `select args ->> 'sealed' from kluis_jobs.river_job where kind = 'mail' order by id`)
	for _, sealed := range must(pgx.CollectRows(rows, pgx.RowTo[string])) {
		var m mail.Message
		if err := json.Unmarshal(must(p.keys.Open("kluis/mail", sealed)), &m); err != nil {
			t.Fatal(err)
		}
		if m.Template == template && (address == "" || m.To == address) {
			found = append(found, m)
		}
	}
	return found
}

// Everybody may read the records, as JSON, as a page and as a PDF: they have every category of the registry, and say nothing of any
// workspace.
func TestRecords(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	anybody := p.public()
	records := decode[struct {
		Processor  string
		Categories []struct {
			Name, Purpose, Basis, Retention string
			Places                          []object
		}
	}](t, anybody.call(t, "GET", "/api/compliance/processing-records", nil).want(t, 200))
	if len(records.Categories) != len(domain.Data) || records.Processor == "" {
		t.Errorf("%d categories of %d, of %q", len(records.Categories), len(domain.Data), records.Processor)
	}
	for _, c := range records.Categories {
		if c.Name == "" || c.Purpose == "" || c.Basis == "" || c.Retention == "" || len(c.Places) == 0 {
			t.Errorf("%+v", c)
		}
	}
	if r := decode[struct {
		Regions []struct {
			Name, Country string
			EEA           bool
		}
	}](t, anybody.call(t, "GET", "/api/compliance/residency", nil).want(t, 200)); len(r.Regions) != 1 || r.Regions[0].Country != "BE" || !r.Regions[0].EEA {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"processing-records", "subprocessors", "dpa", "residency", "security-measures"} {
		for format, begins := range map[string]string{"json": "{", "html": "<!doctype html>", "pdf": "%PDF-"} {
			a := anybody.call(t, "GET", "/api/compliance/"+name+"?format="+format, nil).want(t, 200)
			if !bytes.HasPrefix(a.body, []byte(begins)) || !strings.Contains(a.header.Get("Content-Type"), format) {
				t.Errorf("%s as %s: %v %.60q", name, format, a.header, a.body)
			}
			if bytes.Contains(a.body, []byte(ada.slug)) || bytes.Contains(a.body, []byte(ada.workspace.ID.String())) {
				t.Errorf("%s as %s tells of a workspace", name, format)
			}
		}
		anybody.call(t, "GET", "/api/compliance/"+name+"?format=doc", nil).want(t, 422)
	}
	page := string(anybody.call(t, "GET", "/api/compliance/dpa?format=html", nil).want(t, 200).body)
	for _, want := range []string{"Example BV, Brussels", "Art. 28", "Annex I", "Annex II", "Annex III", "There are none."} {
		if !strings.Contains(page, want) {
			t.Errorf("the agreement does not say %q", want)
		}
	}
}

// The admins of every workspace are told once, each in their language, thirty days before a company gets data; then it is in the list and in
// the agreement, whose earlier versions stay.
func TestSubprocessorsAreAnnounced(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	change := func(c domain.SubprocessorChange) (domain.SubprocessorChange, int64, error) {
		return commands.ChangeSubprocessors(t.Context(), p[0].db, c)
	}
	rack := domain.Subprocessor{Name: "Rack NV", Purpose: "servers", Country: "be", Data: "all, encrypted"}
	if done, told, err := change(domain.SubprocessorChange{Subprocessor: rack}); err != nil || told != 0 || done.Effective != domain.Day(done.At) {
		t.Fatalf("nobody to tell: %+v, %d, %v", done, told, err)
	}
	ada, bob := p[0].signUp(t), p[1].signUp(t)
	carol := ada.member(t, "admin")
	carol.call(t, "PATCH", "/api/me", object{"language": "fr"}).want(t, 200)
	dan := ada.member(t, "member")
	far := domain.Subprocessor{Name: "Far Inc", Purpose: "support", Country: "US", Data: "addresses"}
	if _, _, err := change(domain.SubprocessorChange{Subprocessor: far}); err == nil || !strings.Contains(err.Error(), "/safeguard") {
		t.Errorf("outside of the EEA, with nothing that protects: %v", err)
	}
	far.Safeguard = "standard contractual clauses"
	done, told, err := change(domain.SubprocessorChange{Subprocessor: far})
	if err != nil || told != 2 || done.Version != 2 || done.Effective != domain.Day(done.At).Plus(30) {
		t.Fatalf("%+v, %d, %v", done, told, err)
	}
	parallel(2, func(i int) {
		if err := p[i].commands.TellSubprocessors(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		who      *client
		mails    int
		language string
	}{{ada, 1, "en"}, {bob, 1, "en"}, {carol, 1, "fr"}, {dan, 0, ""}} {
		mails := p[0].mails(t, "subprocessor_notice", c.who.email)
		if len(mails) != c.mails || c.mails > 0 && (mails[0].Language != c.language || mails[0].Values["Company"] != "Far Inc" || mails[0].Values["Effective"] != string(done.Effective)) {
			t.Errorf("%s got %+v", c.who.email, mails)
		}
	}
	list := decode[struct {
		Version int
		Items   []struct{ Name, Country string }
		Changes []struct {
			Company     struct{ Name string }
			EffectiveOn string `json:"effective_on"`
		}
	}](t, p[1].public().call(t, "GET", "/api/compliance/subprocessors", nil).want(t, 200))
	if list.Version != 2 || len(list.Items) != 1 || list.Items[0].Country != "BE" || len(list.Changes) != 2 || list.Changes[1].EffectiveOn != string(done.Effective) {
		t.Errorf("%+v", list)
	}
	if page := string(p[1].public().call(t, "GET", "/api/compliance/dpa?format=html", nil).want(t, 200).body); !strings.Contains(page, "Rack NV") || strings.Contains(page, "Far Inc") {
		t.Error("the agreement of today has not those of today")
	}
}

// Whoever asks gets the documents by mail, in which there is nothing that they typed; who asked is kept, sealed.
func TestSecurityPack(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1, "security_pack=3/1h")[0]
	p.site.secret("Mallory Example", "mallory@elsewhere.example", "Evil Corp")
	ask := object{"name": "Mallory Example", "email": "mallory@elsewhere.example", "company": "Evil Corp", "documents": []string{"dpa", "subprocessors"}, "language": "nl"}
	a := p.public().call(t, "POST", "/api/security-pack", ask).want(t, 202)
	mails := p.mails(t, "security_pack", "mallory@elsewhere.example")
	if len(mails) != 1 || len(mails[0].Files) != 2 || mails[0].Files[0].Name != "dpa.pdf" || !bytes.HasPrefix(mails[0].Files[0].Content, []byte("%PDF-")) || mails[0].Language != "nl" {
		t.Fatalf("%d mails: %+v", len(mails), mails)
	}
	for _, text := range slices.Concat(slices.Collect(maps.Values(mails[0].Values)), []string{must(mail.Render(mails[0])).Text}) {
		if strings.Contains(text, "Mallory") || strings.Contains(text, "Evil") {
			t.Errorf("the mail has what was typed: %s", text)
		}
	}
	packs := must(p.commands.Packs(t.Context()))
	if len(packs) != 1 || packs[0].Company != "Evil Corp" || !slices.Equal(packs[0].Documents, []string{"dpa", "subprocessors"}) || time.Since(packs[0].At) > time.Minute {
		t.Errorf("%+v", packs)
	}
	var kept string
	if err := p.db.Pool().QueryRow(t.Context(), `select sealed from kluis.security_pack`).Scan(&kept); err != nil || strings.Contains(kept, "mallory") {
		t.Errorf("%s %v", kept, err)
	}
	for pointer, wrong := range map[string]object{
		"/name":      {"name": "a\r\nBcc: all@example.org", "email": "a@example.org", "company": "x"},
		"/company":   {"name": "a", "email": "a@example.org", "company": "http://evil.example"},
		"/email":     {"name": "a", "email": "a@example.org\r\nBcc: b@example.org", "company": "x"},
		"/documents": {"name": "a", "email": "a@example.org", "company": "x", "documents": []string{"passwords"}},
		"/language":  {"name": "a", "email": "a@example.org", "company": "x", "language": "xx"},
	} {
		if refused := p.public().call(t, "POST", "/api/security-pack", wrong).want(t, 422); !strings.Contains(string(refused.body), pointer) {
			t.Errorf("%s: %s", pointer, refused.body)
		}
	}
	// All documents when none is named; the same answer, whatever becomes of it.
	other := object{"name": "Ann", "email": "ann@example.org", "company": "Works"}
	if again := p.public().call(t, "POST", "/api/security-pack", other).want(t, 202); !bytes.Equal(again.body, a.body) {
		t.Errorf("%s and %s", a.body, again.body)
	}
	if mails := p.mails(t, "security_pack", "ann@example.org"); len(mails) != 1 || len(mails[0].Files) != len(commands.DocumentNames) {
		t.Errorf("%d mails", len(mails))
	}
	p.public().call(t, "POST", "/api/security-pack", other).want(t, 202)
	limited(t, p.public().call(t, "POST", "/api/security-pack", other), "too_many_requests")
}

// An address gets no more than its share, wherever those come from who ask; the answer does not tell.
func TestSecurityPacksOfOneAddress(t *testing.T) {
	t.Parallel()
	p := newLimited(t, 1, "security_pack=3/1h")[0]
	for i := range 5 {
		from := commands.Origin{IP: must(netip.ParseAddr(fmt.Sprintf("198.51.%d.1", i)))}
		if err := p.commands.RequestPack(t.Context(), commands.PackRequest{Name: "Ann", Email: "Ann@example.org", Company: "Works", Documents: []string{"residency"}, From: from}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.mails(t, "security_pack", "")); n != 3 {
		t.Errorf("%d mails, want 3", n)
	}
}
