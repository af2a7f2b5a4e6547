package promises

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// probe is a request in which one value is that of something that the caller must not know of.
type probe struct {
	op     apiOperation
	where  string
	target string
	body   object
	lists  bool // it filters a list: the answer is an empty one
}

// probes are all the places of an operation that take an id, or name something: each with the value in it, and all else in order.
func (x *tenant) probes(t *testing.T, op apiOperation, value string) (all []probe) {
	t.Helper()
	ids, body := x.ids(t, op), x.body(t, op)
	for name := range ids {
		changed := maps.Clone(ids)
		changed[name] = value
		all = append(all, probe{op, "path " + name, op.at(changed), body, false})
	}
	for _, p := range op.Parameters {
		if s := p.Value.Schema.Value; p.Value.In == "query" && (s.Format == "uuid" || p.Value.Name == "stream") {
			v := value
			if p.Value.Name == "stream" {
				v = "task-" + value
			}
			query := must(url.ParseQuery(strings.TrimPrefix(op.query(), "?")))
			filters := len(query) == 0
			query.Set(p.Value.Name, v)
			all = append(all, probe{op, "query " + p.Value.Name, op.at(ids) + "?" + query.Encode(), body, filters})
		}
	}
	if op.RequestBody == nil || op.public() {
		return all
	}
	content := op.RequestBody.Value.Content["application/json"]
	if content == nil { // a file names nothing
		return all
	}
	for name, property := range content.Schema.Value.Properties {
		changed := maps.Clone(body)
		switch s := property.Value; {
		case s.Format == "uuid":
			changed[name] = value
		case s.Items != nil && s.Items.Value.Format == "uuid":
			changed[name] = []string{value}
		default:
			continue
		}
		all = append(all, probe{op, "body " + name, op.at(ids), changed, false})
	}
	return all
}

// With a token of workspace B, every id of A is like one that never was: in each place of each operation.
func TestWorkspacesDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	a, b := p[0].newTenant(t), p[0].newTenant(t)
	headA, headB := a.head(t), b.head(t)
	foreign := map[string]string{"workspace": a.workspace.ID.String(), "admin": a.id.String()}
	for noun, id := range a.things {
		foreign[noun] = id.String()
	}
	asked := 0
	for _, op := range sampled(t) {
		if op.id == "export-audit-log" { // its filters are those of the list, and it takes another plan: TestAuditExport
			continue
		}
		unknown := map[string]reply{}
		ask := func(value string, check func(probe, reply)) {
			for _, probe := range b.probes(t, op, value) {
				var body any
				if probe.body != nil {
					body = probe.body
				}
				answer := b.call(t, op.method, probe.target, body)
				asked++
				check(probe, answer)
			}
		}
		ask(uuid.NewString(), func(p probe, r reply) {
			unknown[p.where] = r
			if !p.lists && (r.status != 404 && r.status != 422) {
				t.Errorf("%s, an unknown id in %s: %d %.300s", op.id, p.where, r.status, r.body)
			}
		})
		for noun, id := range foreign {
			ask(id, func(p probe, r reply) {
				what := fmt.Sprintf("%s, the id of %s in %s", op.id, noun, p.where)
				if got, want := r.sameBytes(t), unknown[p.where].sameBytes(t); got != want {
					t.Errorf("%s: %s\nfor an unknown one: %s", what, got, want)
				}
				if p.lists && !strings.HasPrefix(string(r.body), `{"items":[]`) {
					t.Errorf("%s: %.300s", what, r.body)
				}
				a.isSecretIn(t, what, r)
			})
		}
	}
	if asked < 200 {
		t.Errorf("only %d requests", asked)
	}
	if a.head(t) != headA || b.head(t) != headB {
		t.Error("something was stored")
	}
}

// isSecretIn checks that an answer to somebody else holds nothing of the workspace.
func (x *tenant) isSecretIn(t *testing.T, what string, r reply) {
	t.Helper()
	all := fmt.Sprint(r.header, string(r.body))
	if i := slices.IndexFunc(x.words, func(w string) bool { return strings.Contains(all, w) }); i >= 0 {
		t.Errorf("%s: %q is in the answer: %.500s", what, x.words[i], all)
	}
}

// What B reads of its own holds nothing of A, and a token of B with A's id put into it opens nothing.
func TestTokensOpenOneWorkspace(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	a, b := p[0].newTenant(t), p[0].newTenant(t)
	forged := b.as(graft(t, b.token, a.workspace.ID))
	nowhere := b.as(graft(t, b.token, uuid.Must(uuid.NewV7())))
	for _, op := range sampled(t) {
		if op.method != "GET" || op.public() || op.id == "export-audit-log" { // which takes another plan: TestAuditExport
			continue
		}
		target := op.at(b.ids(t, op)) + op.query()
		a.isSecretIn(t, op.id, b.call(t, "GET", target, nil).want(t, 200))
		refused := forged.call(t, "GET", target, nil)
		refused.problem(t, 401, "unauthenticated")
		if refused.sameBytes(t) != nowhere.call(t, "GET", target, nil).sameBytes(t) {
			t.Errorf("%s: there being a workspace shows", op.id)
		}
	}
	for name, token := range map[string]string{
		"another case": strings.ToLower(b.token), "cut": b.token[:len(b.token)-1], "longer": b.token + "A", "another kind": "klp_" + b.token[4:],
		"another last letter": b.token[:len(b.token)-1] + string("AB"[len(b.token)%2]), "the id": b.workspace.ID.String(), "the digest": strings.Repeat("0", 64),
	} {
		if got := b.as(token).call(t, "GET", "/api/me", nil); got.status != 401 && token != b.token {
			t.Errorf("%s: %d", name, got.status)
		}
	}
}

// graft puts another workspace's id into a token, whose checksum is right.
func graft(t *testing.T, token string, workspace uuid.UUID) string {
	t.Helper()
	raw := must(base64.RawURLEncoding.DecodeString(token[4:]))
	body := slices.Concat(workspace[:], raw[16:len(raw)-4])
	sum := crc32.Update(crc32.ChecksumIEEE([]byte(token[:4])), crc32.IEEETable, body)
	return token[:4] + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(body, sum))
}

// Two workspaces may have the same people, with the same words, and know nothing of each other.
func TestSamePersonInTwoWorkspaces(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	a, b := p[0].signUp(t), p[0].signUp(t)
	for _, c := range []*client{a, b} {
		c.call(t, "POST", "/api/members", object{"email": "eve@people.example", "full_name": "Eve of " + c.slug, "role": "member"}).want(t, 201)
	}
	a.call(t, "POST", "/api/members", object{"email": "EVE@people.example", "full_name": "Eve", "role": "viewer"}).problem(t, 409, "email_taken")
	eve := &client{process: p[0], slug: a.slug, email: "eve@people.example"}
	invited := decode[list[member]](t, a.call(t, "GET", "/api/members", nil).want(t, 200)).Items[0]
	a.react(t, invited.ID)
	code := a.code(t, "invitation_code", eve.email)
	elsewhere := *eve
	elsewhere.slug = b.slug
	elsewhere.accept(t, code, newPassword()).problem(t, 422, "bad_code")
	password := newPassword()
	eve.enter(t, eve.accept(t, code, password).want(t, 201))
	eve.logIn(t, password).want(t, 200)
	elsewhere.logIn(t, password).problem(t, 401, "bad_credentials")
	hashes := map[string]bool{}
	for _, c := range []*client{a, b} {
		for _, r := range c.log(t) {
			if strings.Contains(string(r.Data), "eve@") || strings.Contains(string(r.Data), "Eve of") {
				t.Errorf("the log holds personal data: %s", r.Data)
			}
			if r.Type == "member.invited" {
				hashes[fmt.Sprint(r.Data)] = true
			}
		}
	}
	if len(hashes) != 2 {
		t.Error("the same address is the same in two logs")
	}
}
