package promises

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// texts are what makes trouble somewhere.
var texts = []string{"", " ", "a", "é", "😀", "\u0000", "a\u0000b", "\u2028", "\u202e", "%", "%s%n", "'; drop table task; --", `"`, `\`, "<script>", "../..", "null", "NaN",
	"0", "-1", "1e999", "\ufeff", "\ufffd", strings.Repeat("x", 499), strings.Repeat("x", 5000), strings.Repeat("é", 60_000), "{}", "[]", "true", "2026-02-29", "a@b"}

func genText() *rapid.Generator[string] { return rapid.OneOf(rapid.SampledFrom(texts), rapid.String()) }

func genInt() *rapid.Generator[int] {
	return rapid.OneOf(rapid.SampledFrom([]int{0, 1, -1, 200, 201, math.MaxInt32, math.MaxInt64, math.MinInt64}), rapid.IntRange(-5, 60))
}

// genAny is any JSON at all.
func genAny() *rapid.Generator[any] {
	return rapid.OneOf(genText().AsAny(), genInt().AsAny(), rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }).AsAny(),
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.SliceOfN(genText(), 0, 3).AsAny(), rapid.MapOfN(genText(), genText(), 0, 3).AsAny(),
		rapid.Just[any](json.RawMessage("1e400")), rapid.Just[any](json.RawMessage(`"\ud800"`)))
}

// genFor is a value that a schema allows, mostly.
func genFor(s *openapi3.Schema, known []string) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		if rapid.IntRange(0, 9).Draw(t, "luck") == 0 {
			return genAny().Draw(t, "anything")
		}
		types := s.Type.Slice()
		switch {
		case len(types) > 1 && rapid.IntRange(0, 3).Draw(t, "null") == 0:
			return nil
		case len(s.Enum) > 0:
			return rapid.SampledFrom(s.Enum).Draw(t, "one of")
		case len(types) == 0:
			return genAny().Draw(t, "anything")
		}
		switch types[0] {
		case "integer", "number":
			return genInt().Draw(t, "number")
		case "boolean":
			return rapid.Bool().Draw(t, "yes or no")
		case "array":
			return rapid.SliceOfN(genFor(s.Items.Value, known), 0, 4).Draw(t, "list")
		case "object":
			return genObject(s, known).Draw(t, "object")
		}
		return genFormat(s.Format, known).Draw(t, "text")
	})
}

func genFormat(format string, known []string) *rapid.Generator[string] {
	switch format {
	case "uuid":
		return rapid.OneOf(rapid.SampledFrom(known), rapid.Just(uuid.NewString()), rapid.Just(uuid.Nil.String()))
	case "date":
		return rapid.SampledFrom([]string{"2026-01-01", "0001-01-01", "9999-12-31", "2024-02-29", "2026-02-29"})
	case "date-time":
		return rapid.SampledFrom([]string{"2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2026-01-01T00:00:00+23:59",
			time.Now().UTC().Format(time.RFC3339Nano)})
	case "email":
		return rapid.OneOf(rapid.Just(uuid.NewString()+"@people.example"), rapid.SampledFrom([]string{"é@é.example", "a@b", "A+b@C.example", `"a b"@c.example`, "a@[127.0.0.1]"}))
	}
	return genText()
}

func genObject(s *openapi3.Schema, known []string) *rapid.Generator[object] {
	return rapid.Custom(func(t *rapid.T) object {
		o := object{}
		names := make([]string, 0, len(s.Properties))
		for name := range s.Properties {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			odds := 2
			if slices.Contains(s.Required, name) {
				odds = 12
			}
			if rapid.IntRange(0, odds).Draw(t, name+"?") > 0 {
				o[name] = genFor(s.Properties[name].Value, known).Draw(t, name)
			}
		}
		if rapid.IntRange(0, 12).Draw(t, "more?") == 0 {
			o[genText().Draw(t, "name")] = genAny().Draw(t, "value")
		}
		return o
	})
}

// genRequest is a request to an operation, mostly as its schema says.
func (x *tenant) genRequest(t *rapid.T, op apiOperation) (target string, body []byte, headers []string) {
	var known []string
	for _, id := range x.things {
		known = append(known, id.String())
	}
	slices.Sort(known)
	ids, query := map[string]string{}, url.Values{}
	for _, p := range op.Parameters {
		name := p.Value.Name
		value := genFor(p.Value.Schema.Value, known)
		switch {
		case p.Value.In == "path" && rapid.IntRange(0, 2).Draw(t, "right "+name) > 0:
			ids[name] = x.ids(t, op)[name]
		case p.Value.In == "path":
			ids[name] = url.PathEscape(short(value.Draw(t, name)))
		case name == "follow" || rapid.Bool().Draw(t, "without "+name):
		case p.Value.In == "query":
			query.Set(name, short(value.Draw(t, name)))
		default:
			text := rapid.OneOf(rapid.SampledFrom([]string{`"1"`, `"2"`, `*`, `W/"3"`, "key"}), rapid.StringMatching(`[ -~é]{0,20}`)).Draw(t, name)
			headers = append(headers, name+": "+text)
		}
	}
	target = op.at(ids)
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	if op.RequestBody != nil && op.RequestBody.Value.Content["application/json"] != nil {
		made := genObject(op.bodySchema(), known).Draw(t, "body")
		if rapid.IntRange(0, 3).Draw(t, "good") == 0 { // much of what is generated is refused for one field: begin with what is not
			good := x.body(t, op)
			for name, value := range made {
				if rapid.IntRange(0, 3).Draw(t, "keep "+name) == 0 {
					good[name] = value
				}
			}
			made = good
		}
		body = must(json.Marshal(made))
	}
	return target, body, headers
}

// short is what fits into a URL that net/http does not refuse itself.
func short(value any) string {
	text := fmt.Sprint(value)
	return text[:min(len(text), 1000)]
}

// Whatever is asked: no failure of ours, an answer as the schema says, and nothing accepted that the schema forbids.
func TestGeneratedRequests(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)
	x := p[0].newTenant(t)
	operations := slices.DeleteFunc(sampled(t), func(op apiOperation) bool {
		return op.id == "log-out" || op.id == "change-password" ||
			op.id == "update-policy"
	}) // which asks two factors of x, who has none
	outcomes := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 12 {
			op := operations[rapid.IntRange(0, len(operations)-1).Draw(t, "operation")]
			target, body, headers := x.genRequest(t, op)
			var sent any
			if body != nil {
				sent = body
			}
			r := x.send(t, op.method, target, sent, headers)
			if r == nil {
				continue // net/http does not send it
			}
			a := x.answer(t, r)
			outcomes[fmt.Sprint(a.status)]++
			switch {
			case a.status >= 500 || a.status == 401 && !op.public():
				t.Fatalf("%s %s %v %.500s: %d %s", op.method, target, headers, body, a.status, a.body)
			case a.status < 300 && body != nil && !schema().accepts(op, body):
				t.Fatalf("%s accepts what its schema forbids: %.500s", op.id, body)
			}
		}
	})
	t.Log(outcomes)
	p[0].commands.Wait() // failed log-ins are recorded behind their answers
	x.judge(t)
	x.noDrift(t)
}

// send makes a request, or nil when Go's client refuses to.
func (c *client) send(t tester, method, target string, body any, headers []string) *http.Request {
	if _, err := url.Parse(c.url + target); err != nil {
		return nil
	}
	return c.request(t, method, target, body, headers...)
}
