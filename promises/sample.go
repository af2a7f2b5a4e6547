package promises

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// tenant is a workspace with one of each thing in it.
type tenant struct {
	*client
	other  *client              // another member
	things map[string]uuid.UUID // by the noun that paths name them with
	words  []string             // that nobody else may read
}

func (p *process) newTenant(t tester) *tenant {
	t.Helper()
	x := &tenant{client: p.signUp(t)}
	x.other = x.member(t, "manager")
	task := x.newTask(t, object{"description": "secret " + uuid.NewString()})
	comment := decode[domain.Comment](t, x.call(t, "POST", taskPath(task, "comments"), object{"body": "secret " + uuid.NewString()}).want(t, 201))
	project := x.newProject(t, object{"name": "secret " + uuid.NewString()})
	x.things = map[string]uuid.UUID{"projects": project.ID, "tasks": task.ID, "comments": comment.ID, "members": x.other.id,
		"sessions": decode[list[session]](t, x.other.call(t, "GET", "/api/sessions", nil).want(t, 200)).Items[0].ID}
	for noun, id := range map[string]string{"tokens": "create-token", "integrations": "connect-integration"} {
		if i := slices.IndexFunc(schema().operations, func(op apiOperation) bool { return op.id == id }); i >= 0 {
			op := schema().operations[i]
			x.things[noun] = decode[struct{ ID uuid.UUID }](t, x.call(t, op.method, op.path, bodies[id](x)).want(t, 201)).ID
		}
	}
	tag := x.newTag(t, "secret "+uuid.NewString())
	x.things["tags"] = tag.ID
	for _, name := range []string{"other tags", "more tags"} { // to merge into
		x.things[name] = x.newTag(t, uuid.NewString()).ID
	}
	x.words = []string{x.slug, x.workspace.ID.String(), x.id.String(), task.Title, task.Description, comment.Body, project.Name, tag.Name}
	for _, c := range []*client{x.client, x.other} {
		x.words = append(x.words, c.email, c.name, c.token)
	}
	for _, id := range x.things {
		x.words = append(x.words, id.String())
	}
	return x
}

// bodies makes, for every operation that has a body, one that is accepted.
var bodies = map[string]func(x *tenant) object{
	"create-task": func(x *tenant) object {
		return object{"title": "t", "description": "d", "status": "open", "priority": "low", "start_on": "2026-01-31", "due_on": "2026-12-31",
			"project_id": x.things["projects"], "parent_id": x.things["tasks"], "assignee_ids": []uuid.UUID{x.things["members"]}, "tag_ids": []uuid.UUID{x.things["tags"]}, "estimate_minutes": 30}
	},
	"create-project": func(x *tenant) object {
		return object{"key": newKey(), "name": "p", "description": "d", "status": "active", "lead_id": x.things["members"],
			"budget_minutes": 600, "budget_cents": 100_000, "hourly_rate_cents": 9_500}
	},
	"update-project": func(x *tenant) object {
		return object{"name": uuid.NewString(), "description": "d", "status": "active", "lead_id": x.things["members"],
			"budget_minutes": 60, "budget_cents": nil, "hourly_rate_cents": 0}
	},
	"update-task": func(x *tenant) object {
		return object{"title": uuid.NewString(), "description": "d", "status": "open", "priority": "low", "start_on": "2026-01-31", "due_on": "2026-12-31",
			"project_id": x.things["projects"], "parent_id": nil, "assignee_ids": []uuid.UUID{x.things["members"]}, "tag_ids": []uuid.UUID{x.things["tags"]}, "estimate_minutes": 30}
	},
	"create-tag": func(*tenant) object { return object{"name": uuid.NewString(), "colour": "#1f6feb"} },
	"update-tag": func(*tenant) object { return object{"name": uuid.NewString(), "colour": nil} },
	"merge-tag": func(x *tenant) object {
		return object{"into": x.things[[]string{"other tags", "more tags"}[rand.IntN(2)]]}
	},
	"create-comment":   func(*tenant) object { return object{"body": "b"} },
	"update-comment":   func(*tenant) object { return object{"body": uuid.NewString()} },
	"update-workspace": func(*tenant) object { return object{"name": uuid.NewString(), "plan": "pro"} },
	"invite-member": func(*tenant) object {
		return object{"email": uuid.NewString() + "@people.example", "full_name": "n", "role": "member", "language": "fr"}
	},
	"update-member":        func(*tenant) object { return object{"role": "member"} },
	"update-me":            func(*tenant) object { return object{"language": "nl"} },
	"begin-two-factor":     func(x *tenant) object { return object{"password": x.password} },
	"confirm-two-factor":   func(*tenant) object { return object{"code": "000000"} },
	"renew-recovery-codes": func(*tenant) object { return object{"code": "000000"} },
	"disable-two-factor":   func(x *tenant) object { return object{"password": x.password, "code": "000000"} },
	"update-policy": func(x *tenant) object {
		return object{"two_factor_roles": [][]string{{}, {"auditor"}}[rand.IntN(2)], "password": x.password}
	},
	"create-token": func(*tenant) object {
		return object{"name": "n", "expires_at": time.Now().Add(time.Hour), "grants": []domain.Grant{{Resource: "task", Action: "read", Scope: "own"}}}
	},
	"connect-integration": func(*tenant) object {
		return object{"provider": "p", "name": "n", "access_token": "a", "refresh_token": "r", "expires_at": time.Now().Add(time.Hour), "scopes": []string{"s"}}
	},
	"sign-up": func(*tenant) object {
		slug := "w" + uuid.NewString()[:13]
		return object{"workspace": object{"slug": slug, "name": "n"}, "email": "a@" + slug + ".example", "full_name": "n",
			"password": newPassword(), "plan": "free", "region": "be", "language": "en"}
	},
	"verify-signup": func(*tenant) object { return object{"signup_id": uuid.NewString(), "code": "000000"} },
	"log-in": func(x *tenant) object {
		return object{"workspace": x.slug, "email": x.email, "password": x.password}
	},
	"forget-password": func(x *tenant) object { return object{"workspace": x.slug, "email": x.email} },
	"reset-password": func(x *tenant) object {
		return object{"workspace": x.slug, "email": x.email, "code": "000000", "password": newPassword()}
	},
	"change-password": func(x *tenant) object { return object{"current": x.password, "password": newPassword()} },
	"accept-invitation": func(x *tenant) object {
		return object{"workspace": x.slug, "email": x.email, "code": "000000", "password": newPassword()}
	},
}

// body is what to send to an operation: nil when it takes none.
func (x *tenant) body(t tester, op apiOperation) object {
	t.Helper()
	if op.RequestBody == nil {
		return nil
	}
	return bodies[op.id](x)
}

// sampled is the operations, but for those that nobody has said here how to ask: the test fails for each.
func sampled(t tester) (all []apiOperation) {
	t.Helper()
	for _, op := range schema().operations {
		if bodies[op.id] == nil && op.RequestBody != nil {
			t.Errorf("sample.go has no body for the operation %s", op.id)
			continue
		}
		all = append(all, op)
	}
	return all
}

// ids gives the values of the parameters of an operation's path, by name.
func (x *tenant) ids(t tester, op apiOperation) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, p := range op.Parameters {
		if p.Value.In != "path" {
			continue
		}
		noun := strings.TrimSuffix(p.Value.Name, "_id") + "s"
		if p.Value.Name == "id" {
			noun = strings.Split(op.path, "/")[2]
		}
		id, known := x.things[noun]
		if !known {
			t.Fatalf("sample.go has no thing for %s, which the path of %s names", noun, op.id)
		}
		ids[p.Value.Name] = id.String()
	}
	return ids
}

// at is the operation's path with these ids in it.
func (op apiOperation) at(ids map[string]string) string {
	path := op.path
	for name, id := range ids {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	return path
}

// public tells whether an operation is for anybody.
func (op apiOperation) public() bool { return op.rule() == "public" }
