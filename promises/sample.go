package promises

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// tenant is a workspace with one of each thing in it.
type tenant struct {
	*client
	other  *client              // another member, a manager
	things map[string]uuid.UUID // by noun, and by what else paths call them
	words  []string             // that nobody else may read
}

// newTenant makes a workspace with a thing of each noun.
func (p *process) newTenant(t tester) *tenant {
	t.Helper()
	x := &tenant{client: p.signUp(t), things: map[string]uuid.UUID{}}
	x.other = x.member(t, "manager")
	x.words = append(x.words, x.slug, x.workspace.ID.String(), x.id.String())
	for _, c := range []*client{x.client, x.other} {
		x.words = append(x.words, c.email, c.name, c.token)
	}
	for _, name := range slices.Sorted(maps.Keys(nouns)) {
		if nouns[name].thing != nil {
			x.one(t, name)
		}
	}
	for _, id := range x.things {
		x.words = append(x.words, id.String())
	}
	return x
}

// one is the workspace's thing of a noun, which is made when it is first asked for.
func (x *tenant) one(t tester, name string) uuid.UUID {
	t.Helper()
	if _, made := x.things[name]; !made {
		make := nouns[name].thing
		if make == nil {
			t.Fatalf("promises/%s.go brings no thing", name)
		}
		x.things[name] = make(t, x)
	}
	return x.things[name]
}

// private is a text that nobody else may read.
func (x *tenant) private() string {
	text := "secret " + uuid.NewString()
	x.words = append(x.words, text)
	return text
}

// bodyMaker finds what makes a body for an operation that is accepted; nil when no noun brings it.
func bodyMaker(id string) func(x *tenant) object {
	for _, n := range nouns {
		if make := n.bodies[id]; make != nil {
			return make
		}
	}
	return nil
}

// body is what to send to an operation: nil when it takes none.
func (x *tenant) body(t tester, op apiOperation) object {
	t.Helper()
	if op.RequestBody == nil {
		return nil
	}
	return bodyMaker(op.id)(x)
}

// sampled is the operations. The test ends when there is one with a body that no noun brings.
func sampled(t tester) []apiOperation {
	t.Helper()
	var lacking []string
	for _, op := range schema().operations {
		if op.RequestBody != nil && bodyMaker(op.id) == nil {
			lacking = append(lacking, op.id+" (promises/"+namedInPath(strings.Split(op.path, "/")[2])+".go)")
		}
	}
	if lacking != nil {
		t.Fatalf("bodies has none, in the file of the noun, of %s", strings.Join(lacking, ", "))
	}
	return slices.Clone(schema().operations)
}

// ids gives the values of the parameters of an operation's path, by name.
func (x *tenant) ids(t tester, op apiOperation) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, p := range op.Parameters {
		if p.Value.In != "path" {
			continue
		}
		switch s := p.Value.Schema.Value; {
		case len(s.Enum) > 0:
			ids[p.Value.Name] = s.Enum[0].(string)
			continue
		case s.Type.Is("integer"):
			ids[p.Value.Name] = "1"
			continue
		}
		name := strings.TrimSuffix(p.Value.Name, "_id")
		if name == "id" {
			name = namedInPath(strings.Split(op.path, "/")[2])
		}
		id, known := x.things[name]
		if !known {
			t.Fatalf("promises/%s.go brings no thing: {%s} in the path of %s needs one", name, p.Value.Name, op.id)
		}
		ids[p.Value.Name] = id.String()
	}
	return ids
}

// namedInPath is the noun that a segment of paths names; for one that has brought nothing, what its name is without a word to the contrary.
func namedInPath(segment string) string {
	for name, n := range nouns {
		if n.path == segment {
			return name
		}
	}
	return strings.TrimSuffix(segment, "s")
}

// at is the operation's path with these ids in it.
func (op apiOperation) at(ids map[string]string) string {
	path := op.path
	for name, id := range ids {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	return path
}

// query is what an operation asks for in the query, with its question mark: positions of the log, or one of the values that there are.
func (op apiOperation) query() string {
	values := url.Values{}
	for _, p := range op.Parameters {
		if p.Value.In != "query" || !p.Value.Required {
			continue
		}
		values.Set(p.Value.Name, "1")
		if names := p.Value.Schema.Value.Enum; len(names) > 0 {
			values.Set(p.Value.Name, names[0].(string))
		}
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// public tells whether an operation is for anybody.
func (op apiOperation) public() bool { return op.rule() == "public" }
