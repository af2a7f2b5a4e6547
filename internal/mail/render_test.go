package mail

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"
)

// whole is a message with every value that its template takes.
func whole(template string) Message {
	all := map[string]string{
		"Workspace": "Bakkerij Ømer & Zonen", "Code": "048213", "Name": "Zoë", "Minutes": "10", "Days": "3",
		"Inviter": "Jan Peeters", "Slug": "omer", "URL": "https://kluis.example.eu",
		"Change": "on", "Receiver": "019c0a3e-5b1c-7c11-9f0e-2a54c3c1d9a0", "Reason": "gone", "Plan": "free", "Until": "2026-12-27",
		"Company": "Rack NV", "Purpose": "servers", "Data": "all of it", "Country": "BE", "Effective": "2026-12-31",
	}
	m := Message{Template: template, To: "zoe@example.org", Values: map[string]string{}, At: time.Date(2026, 3, 7, 9, 30, 0, 0, time.UTC)}
	for _, name := range append(slices.Clone(kinds[template].needs), kinds[template].takes...) {
		m.Values[name] = all[name]
	}
	return m
}

func TestEveryTextInEveryLanguage(t *testing.T) {
	for template := range kinds {
		subjects := map[string]bool{}
		for _, tag := range []string{"en", "fr", "nl"} {
			m := whole(template)
			m.Language = tag
			r, err := Render(m)
			if err != nil {
				t.Fatal(err)
			}
			if r.Language != tag || strings.Contains(r.Subject, "\n") || r.Subject == "" || subjects[r.Subject] {
				t.Errorf("%s in %s: language %q, subject %q", template, tag, r.Language, r.Subject)
			}
			subjects[r.Subject] = true
			for name, value := range m.Values {
				if name == "Change" || name == "Reason" { // chooses the words and is none
					continue
				}
				if !strings.Contains(r.Text, value) {
					t.Errorf("%s in %s: the text has no %s:\n%s", template, tag, name, r.Text)
				}
				escaped := strings.ReplaceAll(value, "&", "&amp;")
				if !strings.Contains(r.HTML, escaped) {
					t.Errorf("%s in %s: the HTML has no %s:\n%s", template, tag, name, r.HTML)
				}
			}
			if code := m.Values["Code"]; code != "" &&
				(!strings.Contains(r.Text, "\n\n    "+code+"\n\n") || !strings.Contains(r.HTML, ">"+code+"</p>")) {
				t.Errorf("%s in %s: the code has no line of its own:\n%s", template, tag, r.Text)
			}
			if strings.Contains(r.Text, "<no value>") || strings.Contains(r.HTML, "<no value>") || !strings.HasSuffix(r.Text, "\n") {
				t.Errorf("%s in %s:\n%s", template, tag, r.Text)
			}
		}
	}
	names, _ := fs.Glob(files, "texts/*/*.txt")
	if len(names) != 3*len(kinds) {
		t.Errorf("%d files of texts, want %d", len(names), 3*len(kinds))
	}
}

func TestTwoFactorChanged(t *testing.T) {
	words := map[string]map[string]string{
		"en": {"on": "turned on", "off": "turned off", "reset": "An admin"},
		"fr": {"on": "activée", "off": "désactivée", "reset": "Un administrateur a"},
		"nl": {"on": "ingeschakeld", "off": "uitgeschakeld", "reset": "Een beheerder"},
	}
	for tag, changes := range words {
		seen := map[string]bool{}
		for change, want := range changes {
			m := whole("two_factor_changed")
			m.Language, m.Values["Change"] = tag, change
			r, err := Render(m)
			if err != nil {
				t.Fatal(err)
			}
			if seen[r.Subject] || !strings.Contains(r.Subject+r.Text, want) || strings.Contains(r.Text, "\n\n\n") {
				t.Errorf("%s in %s: %s\n%s", change, tag, r.Subject, r.Text)
			}
			seen[r.Subject] = true
		}
	}
}

func TestWhatIsOptionalMayBeMissing(t *testing.T) {
	for template, k := range kinds {
		for _, tag := range []string{"en", "fr", "nl"} {
			m := whole(template)
			m.Language = tag
			for _, name := range k.takes {
				delete(m.Values, name)
			}
			missing, err := Render(m)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range k.takes {
				m.Values[name] = ""
			}
			r, err := Render(m)
			if r != missing || strings.Contains(r.Text, "://") {
				t.Errorf("%s in %s: empty is not as missing:\n%s", template, tag, r.Text)
			}
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(r.Text, "\n")
			if !slices.Contains([]string{"Hello,", "Bonjour,", "Hallo,"}, first) {
				t.Errorf("%s in %s begins with %q", template, tag, first)
			}
			for name, preset := range k.preset {
				if !strings.Contains(strings.Join(strings.Fields(r.Text), " "), " "+preset+" ") {
					t.Errorf("%s in %s does not say %s %s", template, tag, preset, name)
				}
			}
			if strings.Contains(r.Text, "  \n") || strings.Contains(r.Text, "()") {
				t.Errorf("%s in %s:\n%s", template, tag, r.Text)
			}
		}
	}
}

func TestLanguage(t *testing.T) {
	for tag, want := range map[string]string{
		"": "en", "en-GB": "en", "fr": "fr", "fr-BE": "fr", "NL": "nl", "nl-be": "nl", "de": "en", "../fr": "en", "frr": "en",
	} {
		if got := language(tag); got != want {
			t.Errorf("%q: %q, want %q", tag, got, want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Message){
		"unknown template": func(m *Message) { m.Template = "../layout" },
		"no template":      func(m *Message) { m.Template = "" },
		"missing value":    func(m *Message) { delete(m.Values, "Code") },
		"blank value":      func(m *Message) { m.Values["Workspace"] = " \r\n\u202e" },
		"unknown value":    func(m *Message) { m.Values["cod"] = "1" },
	} {
		m := whole("reset_code")
		spoil(&m)
		if _, err := Render(m); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValuesAreOneHonestLine(t *testing.T) {
	for value, want := range map[string]string{
		"Acme":                         "Acme",
		"  Acme \t BV ":                "Acme BV",
		"Acme\r\nBcc: eve@example.org": "Acme Bcc: eve@example.org",
		"a\n\n    999999\n\nb":         "a 999999 b",
		"a\u2028b\u2029c\u0085d\x00e":  "a b c d e",
		"\u202eemcA\u202c":             "emcA",
		"bad \xff bytes":               "bad \uFFFD bytes",
		"👩‍🚀":                          "👩‍🚀",
		strings.Repeat("é", 201):       strings.Repeat("é", 199) + "…",
		strings.Repeat("é", 200):       strings.Repeat("é", 200),
	} {
		if got := shorten(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestHTMLIsEscaped(t *testing.T) {
	m := whole("invitation_code")
	m.Values["Workspace"] = `</title><script>alert(1)</script><img src=x onerror="x">`
	r, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.HTML, "<script") || strings.Contains(r.HTML, "<img") {
		t.Error(r.HTML)
	}
}

func TestAddress(t *testing.T) {
	for to, want := range map[string]string{
		"ada@example.org":                        "ada@example.org",
		"ada+kluis@Example.org":                  "ada+kluis@example.org",
		"o'neil@mail.example.org":                "o'neil@mail.example.org",
		"zoë@example.org":                        "zoë@example.org",
		"ada@bücher.example":                     "ada@xn--bcher-kva.example",
		"root@localhost":                         "root@localhost",
		strings.Repeat("a", 64) + "@example.org": strings.Repeat("a", 64) + "@example.org",
		"":                                       "",
		"ada":                                    "",
		"@example.org":                           "",
		"ada@":                                   "",
		"Ada <ada@example.org>":                  "",
		"<ada@example.org>":                      "",
		" ada@example.org":                       "",
		"ada@example.org\r\nBcc: eve@example.org":  "",
		"ada@example.org\n":                        "",
		"ada@exam\r\n ple.org":                     "",
		"ada@example.org\x00":                      "",
		"ada@example.org, eve@example.org":         "",
		"ada@example.org>\r\nRCPT TO:<eve@ev.il":   "",
		"ada@example.org> SIZE=1":                  "",
		"\"ada\r\n\"@example.org":                  "",
		"\"a b\"@example.org":                      "",
		"ada@[127.0.0.1]":                          "",
		"ada@exa mple.org":                         "",
		"ada (comment) @example.org":               "",
		strings.Repeat("a", 65) + "@example.org":   "",
		"a@" + strings.Repeat("a.", 130) + "org":   "",
		"group: ada@example.org, bob@example.org;": "",
	} {
		got, err := address(to)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", to, got, err)
		}
		if err != nil && (!errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "@e")) {
			t.Errorf("%q: error %v", to, err)
		}
	}
}
