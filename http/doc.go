// Package http is how the world asks. It knows requests and answers, and no rules: it parses a request, calls commands or projections, and
// encodes the answer.
//
// Each noun has a file that declares its operations, and one line in the list nouns (http.go). One declaration (operation.go) makes the
// route, the validation, the permission and the OpenAPI schema, so that the documentation cannot drift. A server with an operation that
// does not say who may call it does not start.
//
// A request passes, in this order:
//
//	middleware.go   request id, access log, headers, panics, text that cannot be stored
//	access.go       who the caller is, and whether the caller may: deny by default
//	params.go       path, query and headers, more strictly than huma reads them
//	body.go         size, media type and the exact JSON (strict.go) of a body
//	huma            validation against the schema
//	the handler     gets the caller as an argument, answers or returns an error
//	problem.go      the one place that turns an error into what the caller may see
//
// command.go declares operations that are commands by a member, with If-Match and Idempotency-Key. headers.go, list.go, patch.go and
// stream.go hold the pieces that operations share; schema.go tightens what huma derives from Go types; docs.go serves the schema and two
// pages that show it.
package http
