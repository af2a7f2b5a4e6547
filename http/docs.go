package http

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/negotiation"
	"github.com/danielgtaylor/huma/v2/yaml"
	"github.com/labstack/echo/v4"
)

const (
	schemaPath = "/api/schema/"
	docsPath   = "/api/docs/"
	redocPath  = "/api/redoc/"
)

// docsPolicy lets the documentation pages run scripts and talk to the API, all of it from here. Both set
// styles from scripts; ReDoc searches in a worker that it makes from a blob.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs serves the schema of what was registered before, and two pages that show it. They are outside of the
// schema, and with their files and the front page the only routes that are.
func docs(a *api) {
	reference(a.huma.OpenAPI())
	schema(a)
	problemPages(a)
	serveFrontPage(a)
	viewer(a, docsPath, swaggerPage, swaggerAssets())
	viewer(a, redocPath, redocPage, redocAssets())
}

// schema serves the OpenAPI document, 3.1 or 3.0.3, as JSON, or as YAML to whoever prefers that. A text of a megabyte is made when it is asked for, once:
// most processes are never asked, and making all of them takes most of the time that a start takes.
func schema(a *api) {
	newest := sync.OnceValue(func() schemaText {
		text, err := json.Marshal(a.huma.OpenAPI())
		if err != nil {
			panic(fmt.Errorf("http: the schema has no JSON: %w", err))
		}
		return newSchemaText(text)
	})
	older := sync.OnceValue(func() schemaText {
		text, err := downgrade(a.huma.OpenAPI())
		if err != nil {
			panic(fmt.Errorf("http: the schema has no OpenAPI 3.0: %w", err))
		}
		return newSchemaText(text)
	})
	documents := map[string]func() schemaText{"": newest, "3.1": newest, "3.0": older}
	a.echo.GET(schemaPath, func(c echo.Context) error {
		c.Response().Header().Set("Vary", "Accept")
		document, known := documents[c.QueryParam("version")]
		if !known {
			return codedProblem(http.StatusUnprocessableEntity, "invalid", "the schema is there in version 3.1 and 3.0")
		}
		accept := strings.ToLower(c.Request().Header.Get("Accept"))
		media := negotiation.SelectQValue(accept, []string{jsonType, "application/yaml", "application/x-yaml", "text/yaml"})
		if media = cmp.Or(media, jsonType); media != jsonType {
			return c.Blob(http.StatusOK, "application/yaml", document().yaml())
		}
		return c.Blob(http.StatusOK, jsonType, document().json)
	})
	redirect(a, schemaPath)
}

// downgrade makes OpenAPI 3.0.3, which names a licence by its address alone, and cannot say what the lines of a text hold.
func downgrade(doc *huma.OpenAPI) ([]byte, error) {
	text, err := doc.Downgrade()
	if err != nil {
		return nil, err
	}
	var older map[string]any
	if err := json.Unmarshal(text, &older); err != nil {
		return nil, err
	}
	older["info"].(map[string]any)["license"] = map[string]any{"name": doc.Info.License.Name, "url": "https://www.apache.org/licenses/LICENSE-2.0"}
	withoutContent(older)
	return json.Marshal(older)
}

// withoutContent puts the schema of a line in the place of what JSON Schema says about texts of lines, and leaves a reference alone: it
// has nothing beside it in OpenAPI 3.0.
func withoutContent(value any) {
	switch v := value.(type) {
	case map[string]any:
		line, lines := v["contentSchema"].(map[string]any)
		if lines {
			clear(v)
			maps.Copy(v, line)
		}
		if ref, refers := v["$ref"].(string); refers {
			clear(v)
			v["$ref"] = ref
		}
		for _, inside := range v {
			withoutContent(inside)
		}
	case []any:
		for _, inside := range v {
			withoutContent(inside)
		}
	}
}

// schemaText is a schema as it is sent.
type schemaText struct {
	json []byte
	yaml func() []byte
}

func newSchemaText(text []byte) schemaText {
	text = patternDescription.ReplaceAll(text, nil)
	return schemaText{text, sync.OnceValue(func() []byte {
		var converted bytes.Buffer
		if err := yaml.Convert(&converted, bytes.NewReader(text)); err != nil {
			panic(fmt.Errorf("http: the schema has no YAML: %w", err))
		}
		return converted.Bytes()
	})}
}

// serveFrontPage tells whoever comes without a path what this is, and where to go on.
func serveFrontPage(a *api) {
	a.echo.GET("/", func(c echo.Context) error { return c.HTML(http.StatusOK, frontPage) })
}

// patternDescription is what huma calls a pattern in its messages; validators of OpenAPI do not know the
// word. Inside a string its quotes would be escaped, so this finds the key only.
var patternDescription = regexp.MustCompile(`,"patternDescription":"(?:[^"\\]|\\.)*"`)

// viewer serves an HTML page at path, and its files below it.
func viewer(a *api, path, html string, assets []asset) {
	a.echo.GET(path, func(c echo.Context) error {
		c.Response().Header().Set("Content-Security-Policy", docsPolicy)
		return c.HTML(http.StatusOK, html)
	})
	redirect(a, path)
	for _, file := range assets {
		a.echo.GET(path+file.name, file.serve)
	}
}

// redirect sends a request without the last slash to the path with it, on the same host.
func redirect(a *api, path string) {
	a.echo.GET(strings.TrimSuffix(path, "/"), func(c echo.Context) error {
		return c.Redirect(http.StatusPermanentRedirect, path)
	})
}

const frontPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kluis</title>
<link rel="icon" href="data:,">
</head>
<body>
<p><b>Kluis</b> is a work-management backend in which every change is an event and the event log is the audit history. It has no pages of its own: programs use its API.</p>
<p>The API: <a href="/api/docs/">documentation</a> to read and try out (<a href="/api/redoc/">on one page</a>, <a href="/api/schema/">as OpenAPI</a>), <a href="/api/problems/">errors</a>. The state of this server: <a href="/readyz">/readyz</a>.</p>
<p>Personal data: <a href="/api/compliance/dpa?format=html">data processing agreement</a>, <a href="/api/compliance/processing-records?format=html">records of processing</a>, <a href="/api/compliance/subprocessors?format=html">subprocessors</a>, <a href="/api/compliance/residency?format=html">where the data are</a>, <a href="/api/compliance/security-measures?format=html">what protects them</a>.</p>
</body>
</html>
`

const swaggerPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kluis: the API</title>
<link rel="stylesheet" href="swagger-ui.css">
<link rel="icon" type="image/png" sizes="32x32" href="favicon-32x32.png">
</head>
<body>
<div id="ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="start.js"></script>
</body>
</html>
`

const swaggerStart = `SwaggerUIBundle({
  url: "` + schemaPath + `", dom_id: "#ui", deepLinking: true, validatorUrl: null,
  showExtensions: true, defaultModelsExpandDepth: 0, docExpansion: "list",
});
`

const redocPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kluis: the API</title>
<link rel="icon" href="data:,">
<style>body { margin: 0; padding: 0; }</style>
</head>
<body>
<div id="ui"></div>
<script src="redoc.js"></script>
<script src="start.js"></script>
</body>
</html>
`

// the default fonts come from elsewhere
const redocStart = `Redoc.init("` + schemaPath + `", {
  showExtensions: true,
  theme: { typography: { fontFamily: "system-ui, sans-serif", headings: { fontFamily: "system-ui, sans-serif" },
    code: { fontFamily: "ui-monospace, monospace" } } },
}, document.getElementById("ui"));
`
