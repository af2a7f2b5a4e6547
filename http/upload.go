package http

import (
	"errors"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/kluis-eu/kluis/domain"
)

const (
	formType = "multipart/form-data"

	// uploadLife is how long a file may take to come, however steadily it does.
	uploadLife = 12 * time.Hour

	// formRoom is more than a form has around its file.
	formRoom = 64 << 10
)

// fileBody is the body of an operation that takes a file: a form (RFC 7578) with one field.
func fileBody(field string) *huma.RequestBody {
	file := &huma.Schema{Type: huma.TypeString, Format: "binary", Description: "The bytes. The file's name is that of the part (filename); folders in it are cut off."}
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{formType: {
		Schema: &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{field: file}, Required: []string{field}, AdditionalProperties: false},
	}}}
}

// pacedBody is a body that has some time for each part of it, and uploadLife for all. The answer's time begins anew as well.
type pacedBody struct {
	io.Reader
	ctx  huma.Context
	w    *http.ResponseController
	each time.Duration
	end  time.Time
	next time.Time // when deadlines are set again: not with each read
}

func paced(ctx huma.Context, body io.Reader, each time.Duration) *pacedBody {
	return &pacedBody{Reader: body, ctx: ctx, w: http.NewResponseController(humaecho.UnwrapV4(ctx).Response()), each: each, end: time.Now().Add(uploadLife)}
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if now := time.Now(); now.After(b.next) {
		deadline := now.Add(b.each)
		if deadline.After(b.end) {
			deadline = b.end
		}
		// errors mean that there is no connection
		_ = b.ctx.SetReadDeadline(deadline)
		_ = b.w.SetWriteDeadline(deadline.Add(writeTimeout))
		b.next = now.Add(min(time.Second, b.each/10)) // so what is missing has nine tenths of its time at least
	}
	return b.Reader.Read(p)
}

// form is a multipart body that comes.
type form struct {
	*multipart.Reader
	body io.Reader
}

func newForm(body io.Reader, boundary string) *form {
	return &form{multipart.NewReader(body, boundary), body}
}

// end is io.EOF when neither a part nor anything else of what the headers announced is missing; nil when there is one more part.
func (f *form) end() error {
	if _, err := f.NextPart(); !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := io.Copy(io.Discard, f.body); err != nil { // what is behind the last boundary means nothing (RFC 2046, 5.1.1)
		return err
	}
	return io.EOF
}

// fileOf gives the one file of a form as it comes: its name, and a reader that ends well only where the form does. Its errors are problems.
//
//nolint:unparam // every form has its file in the same field, so far
func fileOf(parts *form, field string) (name string, content io.Reader, err error) {
	part, err := parts.NextPart()
	switch {
	case errors.Is(err, io.EOF):
		return "", nil, domain.InvalidField("/"+field, "is required")
	case err != nil:
		return "", nil, brokenForm(err)
	case part.FormName() != field:
		return "", nil, domain.InvalidField("", "must have the field %s and no other", field)
	case part.FileName() == "":
		return "", nil, domain.InvalidField("/"+field, "must be a file with a name")
	}
	return part.FileName(), &formFile{part: part, parts: parts, field: field}, nil
}

type formFile struct {
	part  *multipart.Part
	parts *form
	field string
}

// Read reads the file, and behind it the end of the form and of the body: a body that was cut off just there is no whole one.
func (f *formFile) Read(p []byte) (int, error) {
	n, err := f.part.Read(p)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, brokenForm(err)
	}
	switch err := f.parts.end(); {
	case errors.Is(err, io.EOF):
		return n, io.EOF
	case err != nil:
		return n, brokenForm(err)
	}
	return n, domain.InvalidField("", "must have the field %s once, and nothing else", f.field)
}

// brokenForm says what is wrong with a form that cannot be read to its end.
func brokenForm(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, errTooLarge):
		return domain.Refuse(domain.TooLarge, "file_too_large", "a file has at most %d GiB on any plan", domain.MaxFile>>30)
	case errors.As(err, &timeout) && timeout.Timeout():
		return newProblem(http.StatusRequestTimeout)
	}
	return codedProblem(http.StatusBadRequest, "malformed_form", "the request body is no whole multipart/form-data: it was cut off, or its boundary is wrong; nothing was stored")
}
