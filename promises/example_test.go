package promises

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/uuid"
)

// refusedExamples are the operations whose example is refused whatever it says, with the code of the problem, and with the field at
// fault where that is invalid: only the person at the screen knows a secret, a code or the name of the workspace.
var refusedExamples = map[string]string{
	"accept-invitation":    "bad_code",
	"begin-two-factor":     "invalid /password",
	"change-password":      "invalid /current",
	"confirm-two-factor":   "two_factor_not_begun",
	"create-token":         "invalid /expires_at", // within a year from now
	"disable-two-factor":   "two_factor_disabled",
	"erase-workspace":      "invalid /confirm",
	"log-in":               "bad_credentials",
	"renew-recovery-codes": "two_factor_disabled",
	"reset-password":       "bad_code",
	"update-policy":        "two_factor_required",
	"update-tag":           "tag_name_taken", // by the example of create-tag
	"verify-signup":        "bad_code",
}

// The example of every body is a request that its schema allows and that is accepted, once the ids in it are those of things that are
// there: "Try it out" of the documentation needs no more than that.
func TestExamplesAreAccepted(t *testing.T) {
	t.Parallel()
	x := newProcesses(t, 1, false)[0].newTenant(t)
	x.things["parent"] = x.newTask(t, object{"project_id": x.things["home"]}).ID
	for _, op := range schema().operations {
		if op.RequestBody == nil || op.RequestBody.Value.Content["application/json"] == nil {
			continue
		}
		example := op.RequestBody.Value.Content["application/json"].Example
		if !schema().accepts(op, must(json.Marshal(example))) {
			t.Errorf("%s: its schema forbids its example, %v", op.id, example)
		}
		x.things["tag"] = x.newTag(t, uuid.NewString()).ID // the one before may be merged into another
		fields := map[string]string{"after": "other", "assignee_ids": "member", "external_id": "", "id": "task", "into": "other tag", "lead_id": "member", "member_id": "member",
			"parent_id": "parent", "project_id": "home", "tag_ids": "tag", "task_id": "task"}
		if op.id == "create-comment" {
			fields["parent_id"] = "comment"
		}
		a := x.call(t, op.method, op.at(x.ids(t, op)), x.real(example, fields))
		switch want, known := refusedExamples[op.id]; {
		case !known && a.status >= 300:
			t.Errorf("%s does not accept its example: %s", op.id, a.body)
		case known && refusal(t, a) != want:
			t.Errorf("%s refuses its example otherwise than with %s: %s", op.id, want, a.body)
		}
	}
	for id := range refusedExamples {
		if !slices.ContainsFunc(schema().operations, func(op apiOperation) bool { return op.id == id }) {
			t.Errorf("there is no operation %s", id)
		}
	}
}

// real is an example with the ids of things that are there: of the things that fields names, and new ones where it names none.
func (x *tenant) real(example any, fields map[string]string) any {
	switch e := example.(type) {
	case map[string]any:
		filled := object{}
		for name, value := range e {
			filled[name] = x.real(value, fields)
			thing, is := fields[name]
			if !is {
				continue
			}
			id, there := x.things[thing]
			if !there {
				id = uuid.New()
			}
			if filled[name] = id; name[len(name)-1] == 's' {
				filled[name] = []uuid.UUID{id}
			}
		}
		return filled
	case []any:
		filled := make([]any, len(e))
		for i, one := range e {
			filled[i] = x.real(one, fields)
		}
		return filled
	}
	return example
}

// refusal is the code of a problem, with the field at fault.
func refusal(t *testing.T, a reply) string {
	t.Helper()
	p := decode[struct {
		Code   string
		Errors []struct{ Pointer string }
	}](t, a)
	if len(p.Errors) == 0 {
		return p.Code
	}
	return p.Code + " " + p.Errors[0].Pointer
}
