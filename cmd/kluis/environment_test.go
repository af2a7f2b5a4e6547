package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// The documentation has every setting, and every name in it, and in the files for containers and systemd, is a setting.
func TestSettingsAreDescribed(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&program{})
	if err != nil {
		t.Fatal(err)
	}
	known := settingsOf(parser.Model)
	others := map[string]bool{"KLUIS_PASSWORD": true, "KLUIS_ADMIN_PASSWORD": true} // of compose.yaml, for the logins that it makes
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../docs/deploy/*")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, file := range append(append(pages, "../../README.md"), files...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bKLUIS_[A-Z0-9_]+\b`).FindAllString(string(text), -1) {
			described[name] = true
			if !known[name] && !others[name] && !strings.HasPrefix(name, "KLUIS_BENCH_") && !strings.HasPrefix(name, "KLUIS_TEST_") {
				t.Errorf("%s has %s, which is no setting", file, name)
			}
		}
	}
	for name := range known {
		if !described[name] {
			t.Errorf("no page has %s", name)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"ab", "ba", 2}, {"kitten", "sitting", 3}, {"PROXYS", "PROXIES", 2}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// A slip in the name of a setting is a wrong use for every command, because the setting would silently stay at its default. Any other unknown name is
// only reported. A setting of another command is not.
func TestUnknownSettings(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	for name, meant := range map[string]string{
		"KLUIS_TRUSTED_PROXYS": "KLUIS_TRUSTED_PROXIES", "KLUIS_LIMIT": "KLUIS_LIMITS", "KLUIS_ARGON": "KLUIS_ARGON2", "KLUIS_KEY": "KLUIS_KEYS",
		"KLUIS_KEYS_INLNE": "KLUIS_KEYS_INLINE", "KLUIS_DATABASEURL": "KLUIS_DATABASE_URL", "KLUIS_DB_URL": "", "KLUIS_RESET_CODE_LIVE": "KLUIS_RESET_CODE_LIFE",
		"KLUIS_PORT": "", "KLUIS_PORT_8080_TCP": "", "KLUIS_PORT_8080_TCP_ADDR": "", "KLUIS_SERVICE_HOST": "", "KLUIS_SERVICE_PORT": "", "KLUIS_TEST_FSYNC": "",
	} {
		h := &home{data: data, env: []string{name + "=secret"}}
		for _, command := range []string{"serve --listen=nonsense", "workspace list"} {
			status, stdout, stderr := h.run(strings.Fields(command)...)
			if !strings.Contains(stderr, "kluis: "+name+": there is no such setting; did you mean "+meant+"?") == (meant != "") ||
				strings.Contains(stderr, "kluis: "+name+" is no setting, and is ignored") == (meant != "") ||
				meant != "" && status != misuse || stdout != "" || strings.Contains(stderr, "secret") {
				t.Errorf("%s, %s: status %d, %q, %q", name, command, status, stdout, stderr)
			}
		}
	}
	h := &home{data: data, env: []string{"KLUIS_MAIL_FROM=kluis@example.org", "KLUIS_LOG=warn", "KLUIS_BACKGROUND=true"}}
	if _, _, stderr := h.run("workspace", "list"); strings.Contains(stderr, "setting") {
		t.Errorf("settings of serve: %s", stderr)
	}
	if status, _, stderr := (&home{data: data, env: []string{"KLUIS_LIMIT=x"}}).run("serve", "--help"); status != success || stderr != "" {
		t.Errorf("help: %d, %s", status, stderr)
	}
}
