package http

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/internal/telemetry"
	"github.com/kluis-eu/kluis/projections"
)

// nouns is what the API is made of: each registers its operations. A new noun is one line here.
var nouns = []func(*api){
	health,
	signup,
	session,
	password,
	account,
	twoFactor,
	workspace,
	policy,
	member,
	person,
	explain,
	role,
	project,
	task,
	taskBulk,
	tag,
	comment,
	timeEntry,
	attachment,
	importNoun,
	export,
	integration,
	receiver,
	token,
	audit,
	logCheckpoint,
	auditExport,
	compliance,
}

// Options is what the server is given. The commands and projections that the nouns call come here.
type Options struct {
	// Authenticate tells whose bearer token this is. It is called on every request that is not public, so
	// that a revoked session or a changed role counts at once. Errors are *domain.Error, or ours.
	Authenticate func(ctx context.Context, bearer string) (projections.Actor, error)
	// Recognise gives what this process knew of the token, to be made good on the way; nil when it has to be asked first. It may
	// be absent.
	Recognise     func(bearer string) *projections.Claim
	Commands      *commands.Commands
	Projections   *projections.Projections
	Ready         func(ctx context.Context) error // nil when requests can be served
	MetricSources []telemetry.Source              // what a scrape of the metrics shows besides those of the process
	Cells         Cells                           // of a process that serves several regions; nil: this is the only one
	Log           *slog.Logger
	// TrustedProxies are the peers whose X-Forwarded-For counts. Empty: nobody's.
	TrustedProxies []netip.Prefix
	Version        string        // of the program, for the schema
	Grace          time.Duration // how long requests in flight may take to finish at the end; 0 means 20 s
}

// Server answers HTTP requests.
type Server struct {
	handler http.Handler
	api     *api
}

// api is what nouns register on, and what their handlers find the rest of the program in.
type api struct {
	Options
	huma       huma.API
	echo       *echo.Echo
	registered map[string]bool // operation ids and routes, to refuse the second of a kind
	tightened  map[string]bool // schemas that tighten has seen
	stopping   context.Context // done when the server begins to stop: what streams watch
	stop       context.CancelFunc

	followers concurrencyLimit // answers that follow the log
	uploads   concurrencyLimit // bodies that are files
	tests     concurrencyLimit // messages to receivers
	throttle  logThrottle      // about outages
	heartbeat time.Duration    // shorter in tests
}

// New makes a server of all nouns. It panics when an operation is declared wrongly, which no setting can cause.
func New(o Options) (*Server, error) {
	return newServer(o, nouns)
}

// Handler is the server without its listener.
func (s *Server) Handler() http.Handler { return s.handler }

func newServer(o Options, nouns []func(*api)) (*Server, error) {
	if o.Authenticate == nil || o.Ready == nil || o.Log == nil {
		return nil, errors.New("http: Authenticate, Ready and Log must be given")
	}
	setHuma()
	a := &api{Options: o, echo: echo.New(), registered: map[string]bool{}, tightened: map[string]bool{}, heartbeat: heartbeat,
		followers: concurrencyLimit{perMember: maxFollowers, what: "follow the log"}, uploads: concurrencyLimit{perMember: maxUploads, total: maxAllUploads, what: "upload files"},
		tests: concurrencyLimit{perMember: maxTests, total: maxAllTests, what: "test receivers"}}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.echo.HTTPErrorHandler = answerError
	a.echo.Use(a.observe, recoverPanics, secure, storableTarget)
	a.huma = humaecho.NewV4(a.echo, humaConfig(o.Version))
	a.huma.UseMiddleware(a.authorise, a.strictParams, a.taskKeys, a.readBody)
	for _, register := range nouns {
		register(a)
	}
	docs(a)
	return &Server{handler: headAsGet(a.echo), api: a}, nil
}

func humaConfig(version string) huma.Config {
	c := huma.DefaultConfig("Kluis", version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", "" // docs.go serves them, behind our headers and without a CDN
	c.CreateHooks = nil                                   // no $schema in bodies
	c.RejectUnknownQueryParameters = true
	c.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	c.Info.License = &huma.License{Name: "Apache License 2.0", Identifier: "Apache-2.0"}
	c.Servers = []*huma.Server{{URL: "/", Description: "The one that this document came from."}}
	c.Info.Contact = &huma.Contact{Name: "Whoever runs this server"}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearerScheme: {Type: "http", Scheme: "bearer", Description: "A session or API token. It names the workspace."},
	}
	return c
}

// setHuma sets what huma keeps in package variables. All servers of the process want the same.
var setHuma = sync.OnceFunc(func() {
	huma.DefaultArrayNullable = false
	huma.ValidateStrictCasing = true // {"Title": ...} is an unknown field
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return humaProblem(context.Background(), status, message, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		return humaProblem(ctx.Context(), status, message, errs)
	}
})
