package promises

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// hunter is what bad values hold, and no answer may.
const hunter = "hunter2"

// stored is how much there is in the places that a request could leave something in.
func (c *client) stored(t tester) string {
	t.Helper()
	var head, credentials, sessions, invitations, signups, mails int
	if err := c.db.Read(context.Background(), c.workspace,
		pg.Exec(`select position from head`).Scan(&head),
		pg.Exec(`select count(*) from credential`).Scan(&credentials),
		pg.Exec(`select count(*) from session`).Scan(&sessions),
		pg.Exec(`select coalesce(sum(attempts), 0) from invitation`).Scan(&invitations)); err != nil {
		t.Fatal(err)
	}
	if err := c.db.Pool().QueryRow(context.Background(), `select (select count(*) + coalesce(sum(attempts), 0) from kluis.signup),
		(select count(*) from kluis_jobs.river_job)`).Scan(&signups, &mails); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("head ", head, ", credentials ", credentials, ", sessions ", sessions, ", invitations ", invitations,
		", sign-ups ", signups, ", mails ", mails)
}

// withBody is the operations that take JSON.
func withBody(t tester) (all []apiOperation) {
	t.Helper()
	for _, op := range sampled(t) {
		if op.RequestBody != nil && op.RequestBody.Value.Content["application/json"] != nil {
			all = append(all, op)
		}
	}
	return all
}

func (op apiOperation) bodySchema() *openapi3.Schema {
	return op.RequestBody.Value.Content["application/json"].Schema.Value
}

// refusedAs checks that a is the problem that bad input deserves: at the pointer, when there is one.
func (a reply) refusedAs(t *testing.T, what string, status int, pointer string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: %d, not %d: %.400s", what, a.status, status, a.body)
		return
	}
	p := decode[problem](t, a)
	if p.Status != status || p.Code == "" || p.RequestID == "" || p.Title == "" || p.Detail == "" || p.Type != "/api/problems/"+p.Code ||
		a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Kluis-Position") != "" {
		t.Errorf("%s: %v %s", what, a.header, a.body)
	}
	if strings.Contains(string(a.body), hunter) {
		t.Errorf("%s: what was sent is in the answer: %s", what, a.body)
	}
	if pointer == "" {
		return
	}
	if len(p.Errors) == 0 || p.Errors[0].In != "body" || p.Errors[0].Pointer != pointer && !strings.HasPrefix(p.Errors[0].Pointer, pointer+"/") || p.Errors[0].Detail == "" {
		t.Errorf("%s: not at %s: %s", what, pointer, a.body)
	}
}

// A refusal says in which part of the request the fault is, wherever it was found, and what is expected there.
func TestFaultsSayWhere(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	task := ada.newTask(t)
	for _, c := range []struct {
		request
		in, pointer, detail string
	}{
		{request{"GET", "/api/tasks/web-0", nil}, "path", "/id", "WEB-12"},
		{request{"GET", "/api/members/nonsense", nil}, "path", "/id", "a UUID such as 0197c0de"},
		{request{"PUT", taskPath(task, "relations", "blocks", task.ID), nil}, "path", "/other_id", "another task"},
		{request{"PUT", taskPath(task, "relations", "parent", task.ID), nil}, "path", "/kind", "blocks"},
		{request{"GET", "/api/tasks?status=open,new", nil}, "query", "/status/1", "in_progress"},
		{request{"GET", "/api/tasks?sort=colour", nil}, "query", "/sort/0", "due_on"},
		{request{"GET", "/api/tasks?status[0]=open", nil}, "query", "/status[0]", "unknown"},
		{request{"GET", "/api/tasks?q=%3F", nil}, "query", "/q", "a letter"},
		{request{"GET", "/api/members?q=%3F", nil}, "query", "/q", "a letter"},
		{request{"GET", "/api/tasks?external_id=x", nil}, "query", "/external_source", "is needed"},
		{request{"GET", "/api/members/" + ada.id.String() + "/access?resource=workspace&id=" + task.ID.String(), nil}, "query", "/id", "leave the id out"},
		{request{"GET", "/api/audit/consistency?from=5&to=2", nil}, "query", "/from", "ends"},
		{request{"POST", "/api/import?format=csv&mapping=x", object{"file": file{"a.csv", "title"}}}, "query", "/mapping", "JSON object"},
		{request{"DELETE", "/api/workspace", object{"confirm": "x"}}, "body", "/confirm", "short name"},
		{request{"POST", "/api/tasks", object{"title": "x", "parent_id": uuid.New()}}, "body", "/parent_id", ""},
	} {
		a := c.send(t, ada)
		p := decode[problem](t, a.want(t, 422))
		if len(p.Errors) != 1 || p.Errors[0].In != c.in || p.Errors[0].Pointer != c.pointer || !strings.Contains(p.Errors[0].Detail, c.detail) {
			t.Errorf("%s: not in the %s at %s: %s", a.what, c.in, c.pointer, a.body)
		}
	}
}

// malformed are texts that are no acceptable JSON, whatever the operation; %s stands for a name and a value of an object.
var malformed = map[string]string{
	"nothing": "", "blank": " \n", "half an object": `{%s`, "a comma too many": `{%s,}`, "two values": `{%s} {}`, "a byte order mark": "\ufeff{%s}",
	"single quotes": `{'a':1}`, "a comment": `{%s /* x */}`, "NaN": `{"a":NaN}`, "a bare word": `hunter2`,
	"a name twice": `{%s,%[1]s}`, "a control character": "{\"a\":\"hunter2\x01\"}", "a raw NUL": "{\"a\":\"hunter2\x00\"}",
	"a NUL": `{"a":"hunter2\u0000"}`, "half a surrogate pair": `{"a":"hunter2\ud83d"}`, "the other half": `{"a":"\ude00hunter2"}`,
	"invalid UTF-8": "{\"a\":\"hunter2\xff\"}", "overlong UTF-8": "{\"a\":\"\xc0\xafhunter2\"}", "a surrogate in UTF-8": "{\"a\":\"\xed\xa0\x80\"}",
	"UTF-16": "{\x00%s}\x00", "deep arrays": `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	"deep objects": strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), "an endless array": strings.Repeat("[", 500_000),
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	x := p[0].newTenant(t)
	before := x.stored(t)
	for _, op := range withBody(t) {
		target, body := op.at(x.ids(t, op)), x.body(t, op)
		field := string(must(json.Marshal(body)))
		field = field[1 : len(field)-1]
		for name, text := range malformed {
			if name == "nothing" && !op.RequestBody.Value.Required {
				continue
			}
			text = strings.ReplaceAll(text, "%[1]s", field)
			a := x.call(t, op.method, target, strings.ReplaceAll(text, "%s", field))
			a.refusedAs(t, op.id+", "+name, 400, "")
		}
		for _, text := range []string{`[]`, `"hunter2"`, `1`, `true`, `null`, `[{}]`} {
			x.call(t, op.method, target, text).refusedAs(t, op.id+", "+text, 422, "")
		}
		for _, name := range []string{"zzz", "", "Title", "a.b", "a/b~", "__proto__", strings.Repeat("z", 1000)} {
			changed := maps.Clone(body)
			changed[name] = 1
			x.call(t, op.method, target, changed).refusedAs(t, fmt.Sprintf("%s, unknown field %.20q", op.id, name), 422, "")
		}
		for _, media := range []string{"text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
			"application/json; charset=iso-8859-1", "application/jsonx", "application/merge-patch+json", "*/*", "x"} {
			x.call(t, op.method, target, body, "Content-Type: "+media).refusedAs(t, op.id+", "+media, 415, "")
		}
		x.call(t, op.method, target, body, "Content-Encoding: gzip").refusedAs(t, op.id+", gzip", 415, "")
		x.huge(t, op, target)
		if after := x.stored(t); after != before {
			t.Errorf("%s stored something: %s, and before %s", op.id, after, before)
			before = after
		}
	}
}

// huge sends a body that is too large, with its length and without.
func (x *tenant) huge(t *testing.T, op apiOperation, target string) {
	t.Helper()
	most := 1 << 20 // of a DELETE, which has a body once
	if said, is := op.Extensions["x-max-body"].(float64); is {
		most = int(said)
	}
	text := []byte(`{"a":"` + strings.Repeat("hunter2 ", most/8+1) + `"}`)
	x.call(t, op.method, target, text).refusedAs(t, op.id+", huge", 413, "")
	r := x.request(t, op.method, target, nil)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), -1
	r.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Logf("%s: %v", op.id, err) // the server may hang up on who goes on sending
		return
	}
	defer response.Body.Close()
	reply{response.StatusCode, response.Header, must(io.ReadAll(response.Body)), "chunks"}.refusedAs(t, op.id+", huge in chunks", 413, "")
}

// badValue is a value that a field must not have.
type badValue struct {
	why    string
	value  any
	status int
}

// badValues are those that the schema of a field forbids.
func badValues(s *openapi3.Schema) (all []badValue) {
	bad := func(why string, values ...any) {
		for _, v := range values {
			all = append(all, badValue{fmt.Sprintf("%s: %.60v", why, v), v, 422})
		}
	}
	types := s.Type.Slice()
	if !slices.Contains(types, "null") {
		bad("null", nil)
	}
	switch types[0] {
	case "string":
		bad("no text", 1, 1.5, true, []string{hunter}, object{"a": hunter})
	case "integer":
		bad("no whole number", hunter, "1", 1.5, true, []int{1}, object{}, json.RawMessage(`1e30`), json.RawMessage(`9223372036854775808`))
		all = append(all, badValue{"a number that no float holds", json.RawMessage(`1e400`), 400})
	case "array":
		bad("no list", hunter, 1, object{}, true)
		for _, b := range badValues(s.Items.Value) {
			if b.status == 422 {
				bad("in a list, "+b.why, []any{b.value})
			}
		}
		if s.MaxItems != nil {
			many := make([]any, *s.MaxItems+1)
			for i := range many {
				many[i] = uuid.NewString()
			}
			bad("too many", many)
		}
	case "object":
		bad("no object", hunter, 1, []object{{}})
	}
	if len(s.Enum) > 0 {
		bad("not one of these", hunter, "", strings.ToUpper(fmt.Sprint(s.Enum[0])), fmt.Sprint(s.Enum[0], " "))
	}
	if s.MaxLength != nil {
		bad("too long", strings.Repeat("é", int(*s.MaxLength)+1), strings.Repeat("😀", int(*s.MaxLength)+1), strings.Repeat(hunter, int(*s.MaxLength)))
	}
	if s.MinLength > 0 {
		bad("too short", strings.Repeat("x", int(s.MinLength)-1))
	}
	if s.Min != nil {
		bad("too small", *s.Min-1)
	}
	if s.Max != nil {
		bad("too large", *s.Max+1)
	}
	return append(all, badFormats[s.Format]...)
}

var badFormats = map[string][]badValue{
	"uuid":      unacceptable(hunter, "", "0197c0de00007000800000000000000a", "{0197c0de-0000-7000-8000-00000000000a}", "urn:uuid:0197c0de-0000-7000-8000-00000000000a"),
	"date":      unacceptable(hunter, "", "2026-02-30", "2026-13-01", "2026-1-1", "0000-01-01", "20260101", "2026-01-01T00:00:00Z", "+2026-01-01"),
	"date-time": unacceptable(hunter, "", "2026-01-01", "2026-01-01T25:00:00Z", "2026-02-30T00:00:00Z", "1767222000"),
	"email":     unacceptable(hunter, "", "a@", "@b.example", "a b@c.example", "Ann <ann@c.example>", "a@b.example\r\nBcc: c@d.example", "a@b@c.example"),
}

func unacceptable(values ...string) (all []badValue) {
	for _, v := range values {
		all = append(all, badValue{fmt.Sprintf("bad format: %q", v), v, 422})
	}
	return all
}

func TestBadValues(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	x := p[0].newTenant(t)
	before := x.stored(t)
	tried := 0
	for _, op := range withBody(t) {
		target, body := op.at(x.ids(t, op)), x.body(t, op)
		inside(op.bodySchema(), body, "", func(s *openapi3.Schema, pointer string, with func(any) object) {
			for _, bad := range badValues(s) {
				tried++
				what := fmt.Sprintf("%s, %s, %s", op.id, pointer, bad.why)
				x.call(t, op.method, target, with(bad.value)).refusedAs(t, what, bad.status, map[int]string{422: pointer}[bad.status])
			}
		}, func(pointer string, without object) {
			x.call(t, op.method, target, without).refusedAs(t, op.id+", without "+pointer, 422, pointer)
		})
		if after := x.stored(t); after != before {
			t.Errorf("%s stored something: %s, and before %s", op.id, after, before)
			before = after
		}
	}
	if tried < 300 {
		t.Errorf("only %d bad values", tried)
	}
}

// inside visits each field of a body: with a function that gives the body with another value there, and, when it
// is required, without it.
func inside(s *openapi3.Schema, body object, pointer string, visit func(*openapi3.Schema, string, func(any) object), required func(string, object)) {
	for name, property := range s.Properties {
		with := func(v any) object {
			changed := maps.Clone(body)
			changed[name] = v
			return changed
		}
		visit(property.Value, pointer+"/"+name, with)
		if slices.Contains(s.Required, name) {
			without := maps.Clone(body)
			delete(without, name)
			required(pointer+"/"+name, without)
		}
		if inner, ok := body[name].(object); ok {
			inside(property.Value, inner, pointer+"/"+name,
				func(s *openapi3.Schema, p string, deeper func(any) object) {
					visit(s, p, func(v any) object { return with(deeper(v)) })
				},
				func(p string, without object) { required(p, with(without)) })
		}
	}
}

// An address that no mail can be sent to, and a name that no mail can show, is told to whoever gives it.
func TestWhatCannotBeMailed(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	x := p[0].newTenant(t)
	before := x.stored(t)
	for _, op := range withBody(t) {
		if op.id != "sign-up" && op.id != "invite-member" {
			continue
		}
		for _, email := range []string{"a@[127.0.0.1]", "a@-c.example", "a@xn--c.example", "a@c_d.example", strings.Repeat("a", 65) + "@c.example",
			"a..b@c.example", "a@c..example", "\"a b\"@c.example", "a@c.example\n"} {
			body := x.body(t, op)
			body["email"] = email
			x.call(t, op.method, op.path, body).refusedAs(t, fmt.Sprintf("%s of %q", op.id, email), 422, "/email")
		}
		for _, name := range []string{" ", "\x7f", "\x1b", "a\nb", "a\rb"} {
			body := x.body(t, op)
			body["full_name"] = name
			x.call(t, op.method, op.path, body).refusedAs(t, fmt.Sprintf("%s of %q", op.id, name), 422, "/full_name")
			if w, ok := body["workspace"].(object); ok {
				body = x.body(t, op)
				w["name"], body["workspace"] = name, w
				x.call(t, op.method, op.path, body).refusedAs(t, fmt.Sprintf("%s of workspace %q", op.id, name), 422, "/workspace/name")
			}
		}
	}
	if after := x.stored(t); after != before {
		t.Errorf("something is stored: %s, and before %s", after, before)
	}
}
