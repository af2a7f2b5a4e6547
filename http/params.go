package http

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
)

// refuse answers in a huma middleware, which returns no error.
func refuse(ctx huma.Context, err error) {
	problemOf(ctx.Context(), err).write(humaecho.UnwrapV4(ctx).Response())
}

func requestOf(ctx huma.Context) *http.Request { return humaecho.UnwrapV4(ctx).Request() }

// strictParams refuses what huma would read leniently: a parameter given twice, of which it takes the first,
// and one that is empty, which it takes for absent.
func (a *api) strictParams(ctx huma.Context, next func(huma.Context)) {
	c := humaecho.UnwrapV4(ctx)
	if !pathParams(c) {
		refuse(ctx, newProblem(http.StatusNotFound))
		return
	}
	var found []fault
	query := c.QueryParams()
	for _, p := range ctx.Operation().Parameters {
		var values []string
		switch p.In {
		case "query":
			values = query[p.Name]
		case "header":
			values = c.Request().Header.Values(p.Name)
		default:
			continue
		}
		if detail := paramFault(values, p.Explode != nil && *p.Explode); detail != "" {
			found = append(found, fault{In: p.In, Pointer: "/" + p.Name, Detail: detail})
		}
	}
	if len(found) > 0 {
		invalid := newProblem(http.StatusUnprocessableEntity)
		invalid.Errors = found
		refuse(ctx, invalid)
		return
	}
	next(ctx)
}

func paramFault(values []string, repeats bool) string {
	switch {
	case len(values) > 1 && !repeats:
		return "is given more than once"
	case slices.Contains(values, ""):
		return "is empty; leave it out instead"
	case slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) }):
		return "is not valid UTF-8"
	}
	return ""
}

// pathParams decodes what echo hands out as it came when the path holds an escaped slash, and tells whether
// the path is one of the route's: echo's last parameter swallows slashes, and any may be empty.
func pathParams(c echo.Context) bool {
	values := slices.Clone(c.ParamValues())
	if slices.ContainsFunc(values, func(v string) bool { return v == "" || strings.Contains(v, "/") }) {
		return false
	}
	if c.Request().URL.RawPath == "" {
		return true
	}
	for i, v := range values {
		decoded, err := url.PathUnescape(v)
		if err != nil {
			return false
		}
		values[i] = decoded
	}
	c.SetParamValues(values...)
	return true
}
