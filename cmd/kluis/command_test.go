package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
	"github.com/kluis-eu/kluis/internal/toolbox"
)

// Help goes to standard output with status 0. A wrong use is reported on standard error, with status 2.
func TestUsage(t *testing.T) {
	t.Parallel()
	h := &home{data: filepath.Join(t.TempDir(), "data")}
	for _, command := range []string{"", "serve", "migrate", "migrate up", "migrate status", "workspace", "workspace list", "workspace show", "workspace plan", "workspace hold", "workspace unhold", "workspace close", "workspace open", "member", "member unlock", "member reset-two-factor", "member make-admin",
		"replay", "verify", "rebuild", "keys", "keys new", "keys rotate", "keys status", "demo", "version"} {
		status, stdout, stderr := h.run(append(strings.Fields(command), "--help")...)
		if status != success || stderr != "" || !strings.Contains(stdout, "Usage: kluis "+command) || len(strings.Split(stdout, "\n")) < 5 {
			t.Errorf("kluis %s --help: status %d, stdout %q, stderr %q", command, status, stdout, stderr)
		}
		if _, help, _ := h.run(append([]string{"help"}, strings.Fields(command)...)...); help != stdout {
			t.Errorf("kluis help %s: %q, want what --help says", command, help)
		}
	}
	for _, wrong := range []string{"", "nothing", "serve extra", "serve --nothing", "replay", "replay a b", "workspace show", "workspace nothing", "workspace plan acme gold", "workspace plan acme pro --retention=9d", "workspace plan acme enterprise --retention=soon", "member unlock acme", "member nothing",
		"rebuild --chek x", "verify a b", "verify a --file b", "verify --checkpoints=nonsense", "replay x --from=y", "serve --log=loud", "serve --trusted-proxies=everybody", "serve --listen=nonsense", "serve --listen=127.0.0.1:99999", "serve --listen=::1:8080",
		"serve --smtp-url=http://foo", "serve --smtp-url=smtp://", "serve --mail-from=nobody", "migrate nothing", "serve --limits=nothing=1/1h"} {
		status, stdout, stderr := h.run(strings.Fields(wrong)...)
		if status != misuse || stderr == "" || strings.Contains(stdout, "error") {
			t.Errorf("kluis %s: status %d, stdout %q, stderr %q", wrong, status, stdout, stderr)
		}
	}
	for wrong, page := range map[string]string{"": "kluis", "nothing": "kluis", "help nothing": "kluis", "import": "kluis import", "serve --nothing": "kluis serve", "workspace nothing": "kluis workspace", "workspace show": "kluis workspace show"} {
		if _, _, stderr := h.run(strings.Fields(wrong)...); !strings.HasSuffix(stderr, "(see "+page+" --help)\n") {
			t.Errorf("kluis %s: %q, want a hint at %s --help", wrong, stderr, page)
		}
	}
	if status, stdout, stderr := h.run("version"); status != success || !strings.HasPrefix(stdout, "kluis ") || stderr != "" {
		t.Errorf("version: status %d, %q, %q", status, stdout, stderr)
	}
	if _, err := os.Stat(h.data); err == nil {
		t.Error("help, version or a wrong use made the data folder")
	}
}

// `kluis serve --help` names each setting, with its default.
func TestSettingsHelp(t *testing.T) {
	t.Parallel()
	_, help, _ := (&home{data: t.TempDir()}).run("serve", "--help")
	help = strings.Join(strings.Fields(help), " ")
	for setting, fallback := range map[string]string{
		"KLUIS_LISTEN": "127.0.0.1:8080", "KLUIS_DATABASE_URL": "private Postgres", "KLUIS_REGIONS": "be=", "KLUIS_DATA": "./data", "KLUIS_KEYS": "$KLUIS_DATA/keys",
		"KLUIS_KEYS_INLINE": "", "KLUIS_SMTP_URL": "KLUIS_DATA/mail", "KLUIS_BLOB_URL": "KLUIS_DATA/blobs", "KLUIS_PUBLIC_URL": "http://$KLUIS_LISTEN", "KLUIS_TRUSTED_PROXIES": "", "KLUIS_LOG": "info",
	} {
		if !strings.Contains(help, "$"+setting) || !strings.Contains(help, fallback) {
			t.Errorf("the help lacks %s, or its default %q:\n%s", setting, fallback, help)
		}
	}
}

// An invalid setting ends with status 2, and one that cannot be used with 1, with a line that names the setting and shows no secret.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	open := filepath.Join(t.TempDir(), "open-keys")
	good := sharedHome(t, url)
	text, err := os.ReadFile(filepath.Join(good.data, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(open, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env    []string
		status int
		says   string
		quiet  string // what must not be shown
	}{
		"keys that are not there":            {[]string{"KLUIS_KEYS=/nowhere/keys"}, failure, "KLUIS_KEYS", ""},
		"keys not there, with a database":    {[]string{"KLUIS_DATA=" + t.TempDir()}, failure, "KLUIS_KEYS", ""},
		"keys that everybody may read":       {[]string{"KLUIS_KEYS=" + open}, failure, "KLUIS_KEYS", strings.TrimSpace(string(text))},
		"no key in the key file":             {[]string{"KLUIS_KEYS=" + file}, failure, "KLUIS_KEYS", ""},
		"a key that is too short":            {[]string{"KLUIS_KEYS_INLINE=c2hvcnQ="}, failure, "KLUIS_KEYS_INLINE", "c2hvcnQ="},
		"an address in use":                  {[]string{"KLUIS_LISTEN=" + taken.Addr().String()}, failure, "KLUIS_LISTEN", ""},
		"an address that is none":            {[]string{"KLUIS_LISTEN=nonsense"}, misuse, "KLUIS_LISTEN", ""},
		"a database that is not there":       {[]string{"KLUIS_DATABASE_URL=postgres://kluis:verysecret@127.0.0.1:1/kluis"}, failure, "database", "verysecret"},
		"a database URL that is none":        {[]string{"KLUIS_DATABASE_URL=postgres://kluis:verysecret@:port/kluis"}, misuse, "KLUIS_DATABASE_URL", "verysecret"},
		"a wrong password":                   {[]string{"KLUIS_DATABASE_URL=" + strings.Replace(url, "kluis:", "kluis:verysecret", 1)}, failure, "database", "verysecret"},
		"a database of another name":         {[]string{"KLUIS_DATABASE_URL=" + strings.Replace(url, "kluis_test", "nothing", 1)}, failure, "does not exist", ""},
		"the superuser":                      {[]string{"KLUIS_DATABASE_URL=" + pgtest.Superuser(t, url)}, failure, "superuser", ""},
		"a mail server that is none":         {[]string{"KLUIS_SMTP_URL=ftp://ann:verysecret@example.org"}, misuse, "KLUIS_SMTP_URL", "verysecret"},
		"a place of files that is none":      {[]string{"KLUIS_BLOB_URL=s3://ann:verysecret@blobs"}, misuse, "KLUIS_BLOB_URL", "verysecret"},
		"a data folder that is a file":       {[]string{"KLUIS_DATABASE_URL=", "KLUIS_DATA=" + file}, failure, file, ""},
		"a sender of mails that is none":     {[]string{"KLUIS_MAIL_FROM=nobody"}, misuse, "KLUIS_MAIL_FROM", ""},
		"a private Postgres at a plain file": {[]string{"KLUIS_DATABASE_URL=", "KLUIS_DATA=/dev/null"}, failure, "/dev/null", ""},
	} {
		h := &home{data: good.data, env: append(append(append([]string{}, good.env...), "KLUIS_LISTEN="+toolbox.FreeAddress(t)), c.env...)}
		status, stdout, stderr := h.run("serve")
		if status != c.status || stdout != "" || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: status %d, stdout %q, stderr %q, want %q", name, status, stdout, stderr, c.says)
		}
		if !strings.Contains("\n"+stderr, "\nkluis: ") || strings.Contains(stderr, "goroutine") {
			t.Errorf("%s: no clear line: %q", name, stderr)
		}
		if c.quiet != "" && strings.Contains(stderr, c.quiet) {
			t.Errorf("%s: it shows a secret: %s", name, stderr)
		}
	}
}

// A command that neither serves nor migrates makes nothing in a wrong folder, no cluster, no keys, no data folder, and says what is wrong.
func TestCommandsMakeNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := &home{data: filepath.Join(dir, "data")}
	for _, args := range []string{"workspace list", "workspace show acme", "migrate status", "replay acme", "verify", "verify acme", "rebuild", "rebuild --check", "rebuild acme",
		"keys status", "keys rotate", "demo --url=http://127.0.0.1:1", "version"} {
		status, stdout, stderr := h.run(strings.Fields(args)...)
		want := map[bool]string{true: "there is no Kluis in " + h.data, false: "no server answers"}[!strings.HasPrefix(args, "demo")]
		if args == "version" {
			if status != success || stderr != "" {
				t.Errorf("version: status %d, %q", status, stderr)
			}
		} else if status != failure || stdout != "" || !strings.HasPrefix(stderr, "kluis: ") || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q, %q", args, status, stdout, stderr)
		}
		if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
			t.Fatalf("%s made %v, %v", args, made, err)
		}
	}
}

// A command on a database that was never migrated, or on a workspace that does not exist, says so.
func TestCommandsOnNothing(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	if out := h.must(t, "migrate", "status"); !strings.Contains(out, "control schema: 0 of ") || !strings.Contains(out, "workspaces: 0") {
		t.Errorf("migrate status: %s", out)
	}
	for _, args := range []string{"workspace list", "workspace show acme", "replay acme", "verify acme", "verify", "rebuild acme", "rebuild"} {
		status, stdout, stderr := h.run(strings.Fields(args)...)
		if status != failure || stdout != "" || strings.Contains(stderr, "SQLSTATE") || !strings.Contains(stderr, "kluis migrate") {
			t.Errorf("%s on an empty database: status %d, %q, %q", args, status, stdout, stderr)
		}
	}
	if out := h.must(t, "migrate"); strings.Contains(out, ": 0 of") || !strings.Contains(out, "0 lack") && !strings.Contains(out, "workspaces: 0") {
		t.Errorf("migrate: %s", out)
	}
	if again, first := h.must(t, "migrate", "up"), h.must(t, "migrate", "status"); again != first {
		t.Errorf("migrate again: %s, status: %s", again, first)
	}
	if out := h.must(t, "workspace", "list"); !strings.HasPrefix(out, "SLUG") || strings.Count(out, "\n") != 1 {
		t.Errorf("workspace list: %s", out)
	}
	for _, args := range []string{"workspace show acme", "replay acme", "verify acme", "rebuild acme", "rebuild --check acme"} {
		status, stdout, stderr := h.run(strings.Fields(args)...)
		if status != failure || stdout != "" || !strings.Contains(stderr, `"acme": no such workspace`) {
			t.Errorf("%s: status %d, %q, %q", args, status, stdout, stderr)
		}
	}
}

// On a database of an older kluis, a command that reads workspaces says what to do, and one that only reads the directory works.
func TestCommandsOnOldDatabase(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	s.signUp(t, "acme")
	s.stop(t)
	admin := h.superuser(t)
	for _, sql := range []string{
		`update kluis.workspace set version = version - 1; alter table ` + schema(t, admin, "acme") + `.head rename to later`,
		`update kluis.workspace set version = version + 1; update kluis.migration set version = 0`,
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		for _, args := range []string{"workspace show acme", "replay acme", "rebuild acme", "rebuild", "rebuild --check"} {
			status, stdout, stderr := h.run(strings.Fields(args)...)
			if status != failure || stdout != "" || strings.Contains(stderr, "SQLSTATE") || !strings.Contains(stderr, "run `kluis migrate`") {
				t.Errorf("%s: status %d, %q, %q", args, status, stdout, stderr)
			}
		}
		if out := h.must(t, "workspace", "list"); !strings.Contains(out, "acme") {
			t.Errorf("workspace list: %s", out)
		}
	}
}

// Every command refuses the data of a pre-release with other migrations, and says what to do. Equal numbers of migrations are not enough.
func TestDataOfAnotherPreRelease(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	s.signUp(t, "acme")
	s.stop(t)
	admin := h.superuser(t)
	for _, sql := range []string{
		`update kluis.workspace set hashes[version] = 'of others'`,
		`update kluis.migration set hashes[version] = 'of others'`,
		`alter table kluis.migration drop column hashes; alter table kluis.workspace drop column hashes`,
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		for _, args := range []string{"serve --listen=127.0.0.1:0", "migrate", "migrate status", "workspace show acme", "replay acme", "rebuild acme"} {
			status, _, stderr := h.run(strings.Fields(args)...)
			if status != failure || strings.Contains(stderr, "SQLSTATE") || !strings.Contains(stderr, "another pre-release") || !strings.Contains(stderr, "empty database") {
				t.Errorf("%s after %s: status %d, %q", args, sql, status, stderr)
			}
		}
	}
}

// An operator lists and shows workspaces beside a running server.
func TestWorkspaceCommands(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "beta")
	ann.task(t, "Paint the door")
	list := strings.Split(strings.TrimSpace(h.must(t, "workspace", "list")), "\n")
	if len(list) != 3 || !strings.HasPrefix(list[1], "acme ") || !strings.HasPrefix(list[2], "beta ") || !strings.Contains(list[1], " be ") {
		t.Errorf("workspace list: %q", list)
	}
	show := strings.Join(strings.Fields(h.must(t, "workspace", "show", "acme")), " ")
	for _, want := range []string{"slug acme", "name Works of acme", "plan free", "region be", "head 3", "(0 behind)"} {
		if !strings.Contains(show, want) {
			t.Errorf("workspace show lacks %q: %s", want, show)
		}
	}
	if out := h.must(t, "migrate", "status"); !strings.Contains(out, "workspaces: 2, of which 0 lack") {
		t.Errorf("migrate status: %s", out)
	}
	for _, secret := range []string{"ann@", "Ann Example", ann.token} {
		if text := strings.Join(list, "") + show + s.log.String(); strings.Contains(text, secret) {
			t.Errorf("%q is shown", secret)
		}
	}
}

// The operator of Kluis helps the only admin of a workspace beside a running server, and an unknown member or workspace is reported.
func TestMemberCommands(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	s.signUp(t, "acme")
	email := "ann@acme.example"
	for _, command := range []string{"unlock", "reset-two-factor", "make-admin"} {
		if out := h.must(t, "member", command, "acme", strings.ToUpper(email)); !strings.Contains(out, "of acme: ") {
			t.Errorf("member %s: %s", command, out)
		}
		for _, wrong := range [][]string{{"acme", "nobody@acme.example"}, {"nowhere", email}, {"acme", ""}} {
			if status, _, stderr := h.run("member", command, wrong[0], wrong[1]); status != failure || stderr == "" {
				t.Errorf("member %s %q: status %d, %s", command, wrong, status, stderr)
			}
		}
	}
}

// `kluis replay` prints the same lines that the API serves to auditors.
func TestReplayIsWhatIsServed(t *testing.T) {
	t.Parallel()
	h := sharedHome(t, pgtest.Database(t))
	s := h.serve(t)
	ann := s.signUp(t, "acme")
	s.signUp(t, "beta").task(t, "of another workspace")
	for _, title := range []string{"plain", "Zoë's 👩‍👩‍👧 <b>&amp;</b>", `quote " backslash \ slash /`, "tab\tnewline\nend", "\u2028\u2029\u00a0\ufffe"} {
		id := ann.task(t, title)
		ann.want(t, http.StatusOK, "PATCH", "/api/tasks/"+id, `{"priority": "high", "due_on": "2026-12-31"}`)
		ann.want(t, http.StatusCreated, "POST", "/api/tasks/"+id+"/comments", fmt.Sprintf(`{"body": %q}`, title))
	}
	printed := h.must(t, "replay", "acme")
	served := ann.want(t, http.StatusOK, "GET", "/api/audit/replay", "").body
	if !strings.HasPrefix(string(served), printed) || strings.Count(printed, "\n") != 17 {
		t.Errorf("printed\n%s\nserved\n%s", printed, served)
	}
	if strings.Contains(printed, "of another workspace") {
		t.Error("the log of one workspace has a record of another")
	}
	lines := strings.SplitAfter(printed, "\n")
	if from := h.must(t, "replay", "acme", "--from", "5"); !strings.HasPrefix(from, strings.Join(lines[4:], "")) {
		t.Errorf("from 5:\n%s", from)
	}
	if from := h.must(t, "replay", "acme", "--from", "1000"); from != "" {
		t.Errorf("behind the end:\n%s", from)
	}
	if status, _, stderr := h.run("replay", "acme", "--from", "0"); status == failure {
		t.Errorf("from 0: status %d, %s", status, stderr)
	}
}
