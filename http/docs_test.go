package http

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/kluis-eu/kluis/domain"
)

// outside is every route that is not in the schema: the schema itself, and the pages that show it.
var outside = []string{
	"GET /", "GET /api/schema", "GET /api/schema/", "GET /api/problems", "GET /api/problems/", "GET /api/problems/{code}",
	"GET /api/docs", "GET /api/docs/", "GET /api/docs/swagger-ui.css", "GET /api/docs/swagger-ui-bundle.js",
	"GET /api/docs/favicon-32x32.png", "GET /api/docs/start.js",
	"GET /api/redoc", "GET /api/redoc/", "GET /api/redoc/redoc.js", "GET /api/redoc/start.js",
}

func TestEveryRouteIsInTheSchemaAndTheReverse(t *testing.T) {
	s := &site{t: t, log: &lockedBuffer{}}
	for name, list := range map[string][]func(*api){"program": nouns, "fakes": {health, fakes}} {
		server, err := newServer(s.options(), list)
		if err != nil {
			t.Fatal(err)
		}
		var routes, documented []string
		for _, r := range server.api.echo.Routes() {
			routes = append(routes, r.Method+" "+regexp.MustCompile(`:(\w+)`).ReplaceAllString(r.Path, "{$1}"))
		}
		for path, item := range server.api.huma.OpenAPI().Paths {
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				if operationAt(item, method) != nil {
					documented = append(documented, method+" "+path)
				}
			}
		}
		documented = append(documented, outside...)
		slices.Sort(routes)
		slices.Sort(documented)
		if !slices.Equal(routes, documented) {
			t.Errorf("%s: the routes are\n%q, and the schema has\n%q", name, routes, documented)
		}
	}
}

// Whoever comes without a path learns what this is, and where the documentation is; HEAD, and what is not there, go on as before.
func TestFrontPage(t *testing.T) {
	s := newSite(t, nouns...)
	a := s.ask("GET", "/", "", "Authorization: -")
	if a.StatusCode != http.StatusOK || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") ||
		!strings.Contains(a.body, "work-management backend") || strings.Contains(a.body, "://") {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	for _, link := range regexp.MustCompile(`href="(/[^"]*)"`).FindAllStringSubmatch(a.body, -1) {
		if strings.HasPrefix(link[1], "/api/compliance/") { // promises/compliance_test.go reads those
			continue
		}
		if to := s.ask("GET", link[1], "", "Authorization: -"); to.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", link[1], to.StatusCode)
		}
	}
	if !strings.Contains(a.body, `href="/api/docs/"`) {
		t.Error("no way to the documentation")
	}
	if h := s.ask("HEAD", "/", ""); h.StatusCode != http.StatusOK || h.body != "" {
		t.Errorf("HEAD: %d %q", h.StatusCode, h.body)
	}
	s.ask("POST", "/", "").problem(t, http.StatusMethodNotAllowed, "method_not_allowed")
	s.ask("GET", "/x", "").problem(t, http.StatusNotFound, "not_found")
}

func TestSchema(t *testing.T) {
	s := newSite(t)
	a := s.ask("GET", "/api/schema/", "", "Authorization: -")
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
		t.Fatal(a.StatusCode, a.Header)
	}
	if strings.Contains(a.body, "$schema") || strings.Contains(a.body, s.URL) {
		t.Error("the schema names hosts or puts $schema into bodies")
	}
	document := validSchema(t, a.body)
	validSchema(t, newSite(t, nouns...).ask("GET", "/api/schema/", "").body)
	create := document.Paths.Find("/api/things").Post
	if got := create.Extensions["x-required-permission"]; got != "task:create" {
		t.Errorf("x-required-permission is %v", got)
	}
	if len(*create.Security) != 1 || document.Components.SecuritySchemes["bearer"] == nil {
		t.Error("the bearer token is not in the schema")
	}
	problem := create.Responses.Default().Value
	if problem.Content["application/problem+json"] == nil || problem.Headers["Retry-After"] == nil {
		t.Error("problems are not in the schema")
	}
	created := create.Responses.Value("201").Value.Headers
	for _, name := range []string{"Kluis-Position", "ETag", "X-Request-Id"} {
		if created[name] == nil {
			t.Errorf("the header %s is not in the schema", name)
		}
	}
	body := document.Components.Schemas["PatchThingInputBody"].Value.Properties
	if p := body["owner"].Value; p.Format != "uuid" || p.Pattern == "" {
		t.Errorf("owner is %+v", p)
	}
	if p := body["due_on"].Value; p.Format != "date" || !p.Type.Includes("null") {
		t.Errorf("due_on is %+v", p)
	}
}

func validSchema(t *testing.T, text string) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(t.Context()); err != nil {
		t.Errorf("not valid OpenAPI: %v", err)
	}
	return document
}

func TestSchemaAsYAML(t *testing.T) {
	s := newSite(t)
	for accept, media := range map[string]string{
		"application/yaml":                         "application/yaml",
		"application/json;q=0.5, application/yaml": "application/yaml",
		"text/html, */*":                           "application/json",
		"application/json, application/yaml;q=0.9": "application/json",
		"application/yaml;q=0, application/json":   "application/json",
		"":                                         "application/json",
	} {
		a := s.ask("GET", "/api/schema/", "", "Accept: "+accept)
		if got := a.Header.Get("Content-Type"); got != media {
			t.Errorf("Accept %q gave %s", accept, got)
		}
		if media == "application/json" {
			continue
		}
		document, err := openapi3.NewLoader().LoadFromData([]byte(a.body))
		if err != nil || strings.HasPrefix(a.body, "{") {
			t.Fatalf("not YAML: %v %.100s", err, a.body)
		}
		if got := document.Components.Schemas["PatchThingInputBody"].Value.Properties["due_on"].Value.Pattern; got != plainTypes[reflect.TypeFor[domain.Date]()].pattern {
			t.Errorf("the YAML says another thing: %s", got)
		}
	}
}

func TestPagesComeFromHereOnly(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/api/docs/", "/api/redoc/"} {
		page := s.ask("GET", path, "", "Authorization: -")
		if policy := page.Header.Get("Content-Security-Policy"); page.StatusCode != http.StatusOK || strings.Contains(policy, "http") ||
			!strings.Contains(policy, "script-src 'self';") || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s: %d, policy %q", path, page.StatusCode, policy)
		}
		for _, match := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
			if name := match[1]; !strings.HasPrefix(name, "data:") {
				testAsset(t, s, path+name)
			}
		}
		left := s.ask("GET", strings.TrimSuffix(path, "/"), "", "Host: evil.example")
		if left.StatusCode != http.StatusPermanentRedirect || left.Header.Get("Location") != path {
			t.Errorf("%s redirects with %d to %q", path, left.StatusCode, left.Header.Get("Location"))
		}
		s.ask("GET", path+"swagger-ui.js.map", "").problem(t, 404, "not_found")
	}
}

func testAsset(t *testing.T, s *site, path string) {
	t.Helper()
	plain := s.ask("GET", path, "", "Accept-Encoding: identity")
	zipped := s.ask("GET", path, "", "Accept-Encoding: gzip")
	if plain.StatusCode != http.StatusOK || plain.Header.Get("Content-Encoding") != "" || len(plain.body) == 0 {
		t.Errorf("%s: %d, %d bytes", path, plain.StatusCode, len(plain.body))
	}
	if zipped.Header.Get("Content-Encoding") != "gzip" || zipped.Header.Get("ETag") == plain.Header.Get("ETag") {
		t.Errorf("%s in gzip: %v", path, zipped.Header)
	}
	again := s.ask("GET", path, "", "Accept-Encoding: gzip", "If-None-Match: "+zipped.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("%s again: %d", path, again.StatusCode)
	}
}

// The pages render in a browser for which no other host exists.
func TestPagesRenderOffline(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here")
	}
	s := newSite(t)
	for _, path := range []string{"/api/docs/", "/api/redoc/"} {
		cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
			"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
			"--user-data-dir="+t.TempDir(), "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
			"--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom", s.URL+path)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		dom, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, stderr.String())
		}
		for _, want := range []string{"List things", "Change a thing", "/api/things/"} {
			if !strings.Contains(string(dom), want) {
				t.Errorf("%s does not show %q", path, want)
			}
		}
		if strings.Contains(stderr.String(), "CONSOLE") {
			t.Errorf("%s complains:\n%s", path, stderr.String())
		}
	}
}

func TestSchemaIsJSONWithoutOurTypes(t *testing.T) {
	s := newSite(t)
	var document map[string]any
	if err := json.Unmarshal([]byte(s.ask("GET", "/api/schema/", "").body), &document); err != nil {
		t.Fatal(err)
	}
	if document["openapi"] != "3.1.0" {
		t.Error(document["openapi"])
	}
	if servers, _ := json.Marshal(document["servers"]); !strings.Contains(string(servers), `"url":"/"`) || strings.Contains(string(servers), "://") {
		t.Errorf("the schema names a host, or no server: %s", servers)
	}
}

// What linters, import wizards and generators of clients look for.
func TestSchemaForTools(t *testing.T) {
	document := validSchema(t, newSite(t, nouns...).ask("GET", "/api/schema/", "").body)
	if document.Info.License == nil {
		t.Error("no licence")
	}
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			public := op.Extensions["x-required-permission"] == "public"
			if op.Security == nil || public != (len(*op.Security) == 0) {
				t.Errorf("%s %s: security %v", method, path, op.Security)
			}
			if op.Responses.Value("4XX") == nil || op.Responses.Default() == nil {
				t.Errorf("%s %s: no 4XX, or no default", method, path)
			}
			for _, tag := range op.Tags {
				if document.Tags.Get(tag) == nil {
					t.Errorf("%s %s: the tag %s is not declared", method, path, tag)
				}
			}
		}
	}
	lines := document.Paths.Find("/api/audit/replay").Get.Responses.Value("200").Value.Content["application/x-ndjson"].Schema.Value
	if text, _ := json.Marshal(lines); !strings.Contains(string(text), "#/components/schemas/RecordBody") {
		t.Errorf("the lines of a replay have no schema: %s", text)
	}
}

// What an answer holds can be sent back: a field has the same values in answers as in requests, and those of the domain.
func TestSchemaSaysTheSameBothWays(t *testing.T) {
	schemas := validSchema(t, newSite(t, nouns...).ask("GET", "/api/schema/", "").body).Components.Schemas
	for _, of := range []string{"Task", "TaskFields", "TaskPatch"} {
		for name, want := range map[string][]string{"status": domain.TaskStatuses, "priority": domain.TaskPriorities} {
			if got := schemas[of].Value.Properties[name].Value.Enum; !slices.Equal(got, values(want)) {
				t.Errorf("%s.%s is one of %v", of, name, got)
			}
		}
	}
	for _, name := range []string{"resource", "action", "scope"} {
		if got := schemas["Grant"].Value.Properties[name].Value.Enum; len(got) < 2 {
			t.Errorf("Grant.%s is one of %v", name, got)
		}
	}
	for _, p := range domain.Permissions {
		if len(domain.Scopes[p.Resource]) == 0 {
			t.Errorf("%s has no scopes", p)
		}
	}
}
