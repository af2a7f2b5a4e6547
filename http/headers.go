package http

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kluis-eu/kluis/internal/limit"
)

// The headers that operations share are structs to embed in an input or an output. Their names are exported
// because huma does not look into embedded types that are not.

// Idempotent is for the input of a command, and on its own for one that creates something: the same key and payload
// within 24 hours gives the same answer and one effect. Empty: no key.
type Idempotent struct {
	IdempotencyKey string `header:"Idempotency-Key" pattern:"^[ -~]{1,200}$" patternDescription:"1 to 200 printable ASCII characters" doc:"Chosen by the caller. The same key with the same request (path, body, If-Match) has one effect and gets the same answer, for 24 hours, also when nothing was to be done; refusals are not kept."`
}

//nolint:unparam // Conditional has versions
func (i Idempotent) conditions() (key string, versions []int) { return i.IdempotencyKey, nil }

// Conditional is for the input of a command that changes something.
type Conditional struct {
	Idempotent
	IfMatch expected `header:"If-Match" doc:"The ETag of the version that the change is meant for, or several, separated by commas; any other version answers 412."`
}

func (c Conditional) conditions() (key string, versions []int) {
	return c.IdempotencyKey, c.IfMatch.Versions
}

// Written is for the output of a command.
type Written struct {
	Position int64  `header:"Kluis-Position" doc:"The position in the workspace's log after this command."`
	ETag     string `header:"ETag" doc:"The version of the thing, in quotes."`
}

// commandHeaders are the headers of a command's answer. Version 0 means that the answer is not about one thing.
func commandHeaders(position int64, version int) Written {
	return Written{Position: position, ETag: etag(version)}
}

// Shown is for the output of a query.
type Shown struct {
	Position int64  `header:"Kluis-Position" doc:"The position in the workspace's log that the answer shows."`
	Behind   string `header:"Kluis-Behind" pattern:"^[1-9][0-9]*$" doc:"How many events the answer does not show yet. Absent when it shows all."`
	ETag     string `header:"ETag" doc:"The version of the thing, in quotes."`
}

// queryHeadersAt are the headers of a query's answer. Behind 0 means that the answer shows everything, version 0 that it is not about one
// thing.
func queryHeadersAt(position, behind int64, version int) Shown {
	s := Shown{Position: position, ETag: etag(version)}
	if behind > 0 {
		s.Behind = strconv.FormatInt(behind, 10)
	}
	return s
}

func etag(version int) string {
	if version == 0 {
		return ""
	}
	return `"` + strconv.Itoa(version) + `"`
}

// setRateLimit writes the headers with what is left of the limit on a member's requests (draft-ietf-httpapi-ratelimit-headers-10).
func setRateLimit(ctx huma.Context, r limit.Quota) {
	if r.Most == 0 {
		return
	}
	ctx.SetHeader("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", limit.APIMember, r.Most, int(r.Span.Seconds())))
	ctx.SetHeader("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", limit.APIMember, max(0, r.Left), int(math.Ceil(r.Wait.Seconds()))))
}

// expected is the value of If-Match (RFC 9110, 13.1.1): versions, or none when it is absent or "*".
type expected struct {
	Versions []int // nil: any
}

// oneTag is an ETag of ours as it may come back: proxies that compress weaken it on the way (W/"3"), and Apache's name
// the compression in it ("3-gzip"). It is the same version: ours number states, not bytes.
const (
	oneTag  = `(?:W/)?"([1-9][0-9]{0,17})(?:-(?:gzip|br|deflate|zstd))?"`
	tagList = `^(?:\*|` + oneTag + `(?:[ \t]*,[ \t]*` + oneTag + `){0,19})$`
)

var versionTag, versionTags = regexp.MustCompile(oneTag), regexp.MustCompile(tagList)

// UnmarshalText reads "3" in its quotes, a list of such, or *.
func (e *expected) UnmarshalText(text []byte) error {
	if !versionTags.Match(text) {
		return errors.New(`expected an ETag such as "3", in its quotes, or several, separated by commas, or *`)
	}
	for _, match := range versionTag.FindAllSubmatch(text, -1) {
		version, err := strconv.Atoi(string(match[1]))
		if err != nil {
			return err
		}
		e.Versions = append(e.Versions, version)
	}
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (expected) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Extensions = shownPattern(tagList)
	s.Examples = []any{`"3"`}
	return s
}
