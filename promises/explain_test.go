package promises

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// explanation is what a client reads of /api/members/{id}/access.
type explanation struct {
	Status  string
	Role    domain.Role
	Gone    bool
	Parts   []domain.Part
	Actions []domain.Verdict
}

func (e explanation) of(action string) domain.Verdict {
	return e.Actions[slices.IndexFunc(e.Actions, func(v domain.Verdict) bool { return v.Action == action })]
}

func (c *client) explain(t tester, member *client, resource string, id uuid.UUID) explanation {
	t.Helper()
	return decode[explanation](t, c.call(t, "GET", fmt.Sprintf("/api/members/%s/access?resource=%s&id=%s", member.id, resource, id), nil).want(t, 200))
}

// An explanation says what the API then does, and names role, grant, scope and the part that the member has in the thing.
func TestExplainedAccess(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	role := ada.newRole(t, slices.Concat(over(domain.InProject, domain.ReadTask, domain.ReadComment), over(domain.Own, domain.UpdateTask, domain.DeleteTask, domain.UpdateComment))...)
	bob, vic, boss := ada.member(t, role.ID), ada.member(t, "viewer"), ada.member(t, "manager")
	web := ada.newProject(t)
	ada.call(t, "PUT", web.path("members", bob.id), nil).want(t, 204)
	ours, alien := ada.newTask(t, object{"project_id": web.ID}), ada.newTask(t)
	assigned := ada.newTask(t, object{"assignee_ids": []uuid.UUID{bob.id, vic.id}})
	comment := decode[domain.Comment](t, ada.call(t, "POST", taskPath(assigned, "comments"), object{"body": "x"}).want(t, 201))
	for _, c := range []struct {
		member       *client
		task         domain.Task
		read, update string // words of why; with ! before them when it is refused
		parts        []domain.Part
	}{
		{bob, ours, `grants task:read over project, and the member is a member of its project`, `!grants task:update over own, and the member does not have any part in it but`,
			[]domain.Part{domain.ProjectMember}},
		{bob, alien, `!grants task:read over project, and the member does not have any part in it`, `!grants task:update over own`, []domain.Part{}},
		{bob, assigned, `the member is its assignee`, `grants task:update over own, and the member is its assignee`, []domain.Part{domain.Assignee}},
		{vic, assigned, `The role "viewer" grants task:read over own, and the member is its assignee`, `!The role "viewer" does not grant task:update`, []domain.Part{domain.Assignee}},
		{vic, ours, `!does not have any part in it`, `!does not grant`, []domain.Part{}},
		{boss, alien, `The role "manager" grants task:read over all.`, `grants task:update over all.`, []domain.Part{}},
		{ada, alien, `over all`, `over all`, []domain.Part{domain.Creator}},
	} {
		e := ada.explain(t, c.member, "task", c.task.ID)
		if diff := cmp.Diff(c.parts, e.Parts); diff != "" {
			t.Errorf("parts: %s", diff)
		}
		for action, want := range map[string]string{"read": c.read, "update": c.update} {
			words, refused := strings.CutPrefix(want, "!")
			v, method := e.of(action), map[string]string{"read": "GET", "update": "PATCH"}[action]
			if v.Allowed == refused || !strings.Contains(v.Why, words) {
				t.Errorf("%s: %+v, want %s", action, v, want)
			}
			var body any
			if action == "update" {
				body = object{"priority": "low"}
			}
			if did := c.member.call(t, method, taskPath(c.task), body); (did.status == 200) != v.Allowed {
				t.Errorf("%s: %d, explained as %+v", did.what, did.status, v)
			}
		}
	}
	said := ada.explain(t, bob, "comment", comment.ID)
	if v := said.of("read"); !v.Allowed || !strings.Contains(v.Why, "is the assignee of its task") {
		t.Errorf("%+v", v)
	}
	if v := said.of("update"); v.Allowed || !strings.Contains(v.Why, "does not have any part in it") {
		t.Errorf("%+v", v)
	}
	ada.call(t, "DELETE", taskPath(assigned), nil).want(t, 204)
	if e := ada.explain(t, bob, "task", assigned.ID); !e.Gone || e.of("read").Allowed || !strings.HasPrefix(e.of("read").Why, "The thing is deleted") {
		t.Errorf("%+v", e)
	}
	ada.call(t, "POST", "/api/members/"+boss.id.String()+"/deactivate", nil).want(t, 200)
	if v := ada.explain(t, boss, "task", alien.ID).of("read"); v.Allowed || !strings.Contains(v.Why, "deactivated") {
		t.Errorf("%+v", v)
	}
	general := decode[explanation](t, ada.call(t, "GET", "/api/members/"+bob.id.String()+"/access?resource=task", nil).want(t, 200))
	if v := general.of("create"); len(general.Actions) != 4 || v.Allowed || v.Scope != domain.None {
		t.Errorf("%+v", general)
	}
	for _, resource := range []string{"member", "role", "project", "tag"} {
		id := map[string]uuid.UUID{"member": vic.id, "role": uuid.MustParse(role.ID), "project": web.ID, "tag": ada.newTag(t, uuid.NewString()).ID}[resource]
		ada.explain(t, bob, resource, id)
		ada.call(t, "GET", fmt.Sprintf("/api/members/%s/access?resource=%s&id=%s", bob.id, resource, uuid.New()), nil).problem(t, 404, resource+"_not_found")
	}
	ada.call(t, "GET", fmt.Sprintf("/api/members/%s/access?resource=audit&id=%s", bob.id, bob.id), nil).problem(t, 422, "invalid")
	ada.call(t, "GET", fmt.Sprintf("/api/members/%s/access?resource=cake", bob.id), nil).problem(t, 422, "invalid")

	// Whoever asks learns nothing of what they do not see.
	bob.call(t, "GET", fmt.Sprintf("/api/members/%s/access?resource=task&id=%s", bob.id, ours.ID), nil).problem(t, 403, "forbidden")
	narrow, _ := ada.newToken(t, slices.Concat(over(domain.All, domain.ReadMember), over(domain.Own, domain.ReadTask))...)
	hidden := ada.member(t, "member").newTask(t)
	narrow.call(t, "GET", fmt.Sprintf("/api/members/%s/access?resource=task&id=%s", bob.id, hidden.ID), nil).problem(t, 404, "task_not_found")
	if v := narrow.explain(t, ada, "task", ours.ID).of("update"); v.Allowed || !strings.HasPrefix(v.Why, "The API token grants less than the role") {
		t.Errorf("%+v", v)
	}
}

// GET /api/me says what is in force, where it comes from, and what is not.
func TestExplainedGrants(t *testing.T) {
	t.Parallel()
	ada := newProcesses(t, 1, false)[0].signUp(t)
	role := ada.newRole(t, over(domain.All, domain.ReadTask, domain.UpdateTask, domain.DeleteTask)...)
	bob := ada.member(t, role.ID)
	script, _ := bob.newToken(t, append(over(domain.Own, domain.ReadTask), over(domain.All, domain.UpdateTask)...)...)
	type sources struct {
		Role             domain.Role
		Grants, Withheld []domain.SourcedGrant
	}
	sourced := func(p domain.Permission, scope domain.Scope, from string) domain.SourcedGrant {
		return domain.SourcedGrant{Grant: grant(p, scope), From: from}
	}
	all := func(from string) []domain.SourcedGrant {
		return []domain.SourcedGrant{sourced(domain.ReadTask, domain.All, from), sourced(domain.UpdateTask, domain.All, from), sourced(domain.DeleteTask, domain.All, from)}
	}
	check := func(what string, who *client, grants, withheld []domain.SourcedGrant) {
		t.Helper()
		want := sources{role.Role, grants, withheld}
		if diff := cmp.Diff(want, decode[sources](t, who.call(t, "GET", "/api/me", nil).want(t, 200))); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("a session", bob, all("role"), []domain.SourcedGrant{})
	check("a token", script, []domain.SourcedGrant{sourced(domain.ReadTask, domain.Own, "token"), sourced(domain.UpdateTask, domain.All, "role")},
		[]domain.SourcedGrant{sourced(domain.DeleteTask, domain.All, "token")})
	ada.enrol(t)
	ada.require(t, role.ID)
	check("without two factors", bob, []domain.SourcedGrant{}, all("two_factor"))
}
