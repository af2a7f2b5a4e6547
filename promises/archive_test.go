package promises

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/archive"
	"github.com/kluis-eu/kluis/internal/pg"
)

// load verifies an export and makes a workspace of it.
func (p *process) load(t tester, file []byte, slug string) (pg.Workspace, error) {
	t.Helper()
	r, err := archive.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return pg.Workspace{}, err
	}
	whole, err := commands.VerifyArchive(r, nil, nil)
	if err != nil {
		return pg.Workspace{}, err
	}
	done, err := p.commands.LoadArchive(context.Background(), whole, slug, nil)
	return done.Workspace, err
}

// An export makes a workspace in another installation, with other keys, that has the same: rows, files, names, and the log, with where it
// is from. People get in by a new password. What they do then is as anywhere else.
func TestAnExportIsLoadedElsewhere(t *testing.T) {
	t.Parallel()
	here, there := newProcesses(t, 1, false)[0], newProcesses(t, 1, false)[0]
	ada := here.signUp(t)
	grace := ada.member(t, "member")
	task := ada.newTask(t)
	ada.call(t, "POST", taskPath(task, "comments"), object{"body": "a remark"}).want(t, 201)
	ada.call(t, "POST", "/api/time-entries", object{"start": "2026-03-01T09:00:00Z", "minutes": 90}).want(t, 201)
	file := ada.attach(t, task, "plan.txt", "the bytes of a file")
	gone := ada.newTask(t)
	ada.call(t, "DELETE", taskPath(gone), nil).want(t, 204)
	ada.call(t, "POST", "/api/members/"+grace.id.String()+"/deactivate", object{}).want(t, 200)
	whole := ada.download(t, ada.exported(t))

	w, err := there.load(t, whole, ada.slug)
	if err != nil {
		t.Fatal(err)
	}
	again := *ada
	again.process, again.workspace = there, w
	again.call(t, "POST", "/api/password/forgot", object{"workspace": ada.slug, "email": ada.email}).want(t, 202)
	again.token = ""
	password := newPassword()
	again.call(t, "POST", "/api/password/reset", object{"workspace": ada.slug, "email": ada.email, "code": there.code(t, "reset_code", ada.email), "password": password}).want(t, 204)
	again.enter(t, again.logIn(t, password))
	if again.id != ada.id || again.workspace != w || w == ada.workspace {
		t.Errorf("who is in: %s, in %s", again.id, again.workspace)
	}
	for _, target := range []string{"/api/tasks", "/api/tasks?deleted=true", "/api/members", "/api/time-entries", "/api/tags", taskPath(task, "comments"), taskPath(task, "history")} {
		if one, other := ada.call(t, "GET", target, nil).want(t, 200), again.call(t, "GET", target, nil).want(t, 200); string(one.body) != string(other.body) {
			t.Errorf("%s: %.500s, and there %.500s", target, one.body, other.body)
		}
	}
	if got := again.call(t, "GET", attachmentPath(file, "content"), nil).want(t, 200); string(got.body) != "the bytes of a file" {
		t.Errorf("the file of a task: %q", got.body)
	}
	again.newTask(t)
	again.noDrift(t)
	there.checkLog(t)
	if once, err := there.load(t, whole, ada.slug); err != nil || once != w {
		t.Errorf("once more: %v, %v", once, err)
	}
	if _, err := there.load(t, ada.download(t, ada.exported(t)), ada.slug); !strings.Contains(fmt.Sprint(err), "there is, or was") {
		t.Errorf("another one into what is there: %v", err)
	}
	if _, err := here.load(t, whole, "w"+uuid.NewString()[:8]); err != nil {
		t.Errorf("beside the one that it is of: %v", err)
	}
}

// The export of a log that was pruned makes a workspace that goes on from the same: rows of every noun, versions, names, the horizon, and a log
// that verifies, can be pruned, and exported, and loaded again.
func TestAnExportOfAPrunedLogIsLoaded(t *testing.T) {
	t.Parallel()
	here, there := newProcesses(t, 1, false)[0], newProcesses(t, 1, false)[0]
	x := here.newTenant(t)
	grace := x.member(t, "member")
	x.call(t, "DELETE", "/api/members/"+grace.id.String(), nil).want(t, 204)
	for range 40 { // so that the first record is in no tile of the tree's edge
		x.newTask(t)
	}
	task := x.newTask(t)
	x.agree(t)
	horizon := x.prune(t).UpTo
	x.call(t, "PATCH", taskPath(task), object{"title": "behind the horizon"}).want(t, 200)
	whole := x.download(t, x.exported(t))
	w, err := there.load(t, whole, x.slug)
	if err != nil {
		t.Fatal(err)
	}
	again := *x.client
	again.process, again.workspace, again.token = there, w, ""
	again.call(t, "POST", "/api/password/forgot", object{"workspace": x.slug, "email": x.email}).want(t, 202)
	password := newPassword()
	again.call(t, "POST", "/api/password/reset", object{"workspace": x.slug, "email": x.email, "code": there.code(t, "reset_code", x.email), "password": password}).want(t, 204)
	again.enter(t, again.logIn(t, password))
	for _, target := range []string{"/api/tasks", "/api/tasks?q=horizon", "/api/members", "/api/roles", "/api/projects", "/api/time-entries", "/api/tags", taskPath(task, "history")} {
		if one, other := x.call(t, "GET", target, nil).want(t, 200), again.call(t, "GET", target, nil).want(t, 200); string(one.body) != string(other.body) {
			t.Errorf("%s: %.500s, and there %.500s", target, one.body, other.body)
		}
	}
	again.call(t, "PATCH", taskPath(task), object{"title": "there"}, `If-Match: "2"`).want(t, 200)
	for _, path := range []string{"/api/audit/replay?from=1", "/api/audit/proof/1", "/api/audit/consistency?from=1"} {
		again.call(t, "GET", path, nil).problem(t, 410, "pruned")
	}
	for _, path := range []string{"/api/audit/checkpoint", fmt.Sprintf("/api/audit/proof/%d", horizon+1), fmt.Sprintf("/api/audit/consistency?from=%d", horizon)} {
		again.call(t, "GET", path, nil).want(t, 200)
	}
	again.verifies(t)
	once := again.download(t, again.exported(t))
	again.agree(t)
	if done := again.prune(t); done.UpTo <= horizon || done.Deleted == 0 {
		t.Errorf("%+v", done)
	}
	again.verifies(t)
	twice := again.download(t, again.exported(t))
	for _, file := range [][]byte{once, twice} {
		if _, err := here.load(t, file, "w"+uuid.NewString()[:8]); err != nil {
			t.Error(err)
		}
	}

	here.asSuperuser(t, `update baseline set state = replace(state::text, '"admin"', '"viewer"')::json where model = 'member'`, x.client)
	if _, err := here.load(t, x.download(t, x.exported(t)), "w"+uuid.NewString()[:8]); err == nil || !strings.Contains(err.Error(), "that the log has") {
		t.Errorf("with baselines that somebody changed: %v", err)
	}
}

// An export of which anything was changed is loaded nowhere: each file, the manifest, the signature, its end; nor is a ZIP with paths that
// lead elsewhere, with a file twice, or with one more.
func TestTamperedExports(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	ada.attach(t, ada.newTask(t), "plan.txt", "the bytes of a file")
	whole := ada.download(t, ada.exported(t))
	refused := func(what string, file []byte) {
		t.Helper()
		if _, err := p.load(t, file, "w"+uuid.NewString()[:8]); err == nil {
			t.Errorf("%s was loaded", what)
		}
	}
	names := unpack(t, whole).files
	for name := range names {
		refused(name+" with one byte more", rezip(t, whole, func(n string, b []byte) (string, []byte) {
			if n == name {
				b = append(bytes.Clone(b), ' ')
			}
			return n, b
		}))
		refused("without "+name, rezip(t, whole, func(n string, b []byte) (string, []byte) {
			if n == name {
				n = ""
			}
			return n, b
		}))
	}
	for _, evil := range []string{"../evil", "/etc/evil", `a\evil`, "a/../../evil", "data/task.json", "one-more"} {
		refused(evil, rezip(t, whole, nil, evil))
	}
	for _, cut := range []int{0, 10, len(whole) / 2, len(whole) - 1} {
		refused("cut", whole[:cut])
	}
	bomb := rezip(t, whole, nil, "bomb")
	refused("a bomb", bomb)
}

// rezip packs an export anew, with files changed or left out, and others besides.
func rezip(t tester, whole []byte, change func(name string, content []byte) (string, []byte), besides ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	to := zip.NewWriter(&out)
	for _, f := range must(zip.NewReader(bytes.NewReader(whole), int64(len(whole)))).File {
		name, content := f.Name, must(io.ReadAll(must(f.Open())))
		if change != nil {
			name, content = change(name, content)
		}
		if name != "" {
			must(must(to.Create(name)).Write(content))
		}
	}
	for _, name := range besides {
		content := []byte("evil")
		if name == "bomb" {
			content = make([]byte, 50<<20)
		}
		must(must(to.Create(name)).Write(content))
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
