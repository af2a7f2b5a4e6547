package http

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/domain"
)

const (
	maxFaults  = 20  // of one answer: a caller who sent a million wrong values is not told of each
	maxPointer = 200 // bytes: it may hold a name that the caller chose
)

// humaProblem is what huma calls for every error that it finds itself: what we see of a request before its
// handler does. Its texts hold the submitted values, so they are rebuilt here and never passed on.
func humaProblem(ctx context.Context, status int, message string, errs []error) *problem {
	x := exchangeOf(ctx)
	if refused := x.known(); refused != nil {
		return problemOf(ctx, refused)
	}
	var p *problem
	switch {
	case x.tooLarge:
		p = newProblem(http.StatusRequestEntityTooLarge)
	case status >= 500:
		x.log.ErrorContext(ctx, "request failed", "request_id", x.id, "error", errors.Join(append(errs, errors.New(message))...).Error())
		p = newProblem(status)
	case status == http.StatusUnprocessableEntity:
		p = newProblem(status)
		p.Errors = x.orKeys(faults(errs))
	case status == http.StatusBadRequest: // body.go saw that it is JSON: it holds a number that no float64 holds
		p = codedProblem(status, "malformed_json", "the request body holds a number that is too large")
	default:
		p = newProblem(status)
	}
	p.RequestID = x.id
	return p
}

// faults are errs without what the caller sent, in a stable order, one for each place.
func faults(errs []error) []fault {
	var found []fault
	for _, err := range errs {
		if refusal, ok := domain.Refusal(err); ok {
			for _, f := range refusal.Fields {
				found = append(found, fault{In: "body", Pointer: f.Pointer, Detail: f.Detail})
			}
			continue
		}
		var detail huma.ErrorDetailer
		if errors.As(err, &detail) {
			found = append(found, faultOf(detail.ErrorDetail()))
		}
	}
	slices.SortStableFunc(found, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.In, b.In), cmp.Compare(a.Pointer, b.Pointer))
	})
	found = slices.CompactFunc(found, func(a, b fault) bool { return a.In == b.In && a.Pointer == b.Pointer })
	return found[:min(len(found), maxFaults)]
}

func faultOf(d *huma.ErrorDetail) fault {
	f := locate(d.Location)
	message := strings.TrimPrefix(d.Message, "invalid value: ")
	if pointer, ok := strings.CutPrefix(message, mismatch); ok { // from jsonFormat
		f.Pointer, f.Detail = f.Pointer+pointer, "the value does not fit"
		return f
	}
	if name, ok := strings.CutPrefix(message, "expected required property "); ok {
		name = strings.TrimSuffix(name, " to be present")
		f.Pointer, f.Detail = f.Pointer+"/"+escapePointer.Replace(name), "is required"
		return f
	}
	if strings.HasPrefix(message, "invalid UUID") {
		f.Detail = "expected a UUID such as " + someRef
		return f
	}
	if at := itemOf.FindStringSubmatch(f.Pointer); at != nil && f.In != "body" && message != "unknown query parameter" {
		f.Pointer = at[1] + "/" + at[2]
	}
	if strings.HasPrefix(message, "invalid date/time for format ") {
		f.Detail = "expected an instant such as 2006-01-02T15:04:05Z"
		return f
	}
	// what follows a colon in huma's messages is another library's error, which quotes the value
	f.Detail, _, _ = strings.Cut(message, ": ")
	return f
}

// locate turns huma's "body.items[3].title" into the part and the JSON pointer "/items/3/title". A name
// with a dot in it, which only an unknown field can have, becomes two.
func locate(location string) fault {
	part, rest, _ := strings.Cut(location, ".")
	if i := strings.IndexByte(part, '['); i >= 0 {
		part, rest = part[:i], location[i:]
	}
	f := fault{In: part}
	if f.In == "" || f.In == "form" {
		f.In = "body"
	}
	if rest == "" {
		return f
	}
	if f.In != "body" { // the name of a parameter is one token, whatever is in it
		f.Pointer = cutText("/"+escapePointer.Replace(rest), maxPointer)
		return f
	}
	rest = escapePointer.Replace(rest)
	rest = strings.NewReplacer("].", "/", "[", "/", "]", "", ".", "/").Replace(rest)
	f.Pointer = cutText("/"+strings.TrimPrefix(rest, "/"), maxPointer)
	return f
}

// itemOf is one of several values of a parameter.
var itemOf = regexp.MustCompile(`^(.+)\[([0-9]+)\]$`)

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1") // RFC 6901, 3

// cutText gives at most limit bytes of s, without half a character at the end.
func cutText(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
