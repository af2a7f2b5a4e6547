package http

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// describeRanges adds to the schema what an answer to a Range request has (RFC 9110, 14).
func describeRanges(responses map[string]*huma.Response) {
	whole := responses[strconv.Itoa(http.StatusOK)]
	whole.Headers = map[string]*huma.Header{
		"ETag":                textHeader("The SHA-256 of the bytes, in quotes.", `"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"`),
		"Repr-Digest":         textHeader("The same (RFC 9530).", "sha-256=:LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=:"),
		"Accept-Ranges":       textHeader("Parts are of bytes.", "bytes"),
		"Content-Disposition": textHeader("attachment, with the name of the file (RFC 6266).", `attachment; filename="door.jpg"`),
	}
	part := *whole
	part.Description = http.StatusText(http.StatusPartialContent)
	part.Headers = map[string]*huma.Header{"Content-Range": textHeader("Which bytes of how many.", "bytes 0-1023/4096")}
	for name, header := range whole.Headers {
		part.Headers[name] = header
	}
	responses[strconv.Itoa(http.StatusPartialContent)] = &part
	responses[strconv.Itoa(http.StatusNotModified)] = &huma.Response{Description: http.StatusText(http.StatusNotModified),
		Headers: map[string]*huma.Header{"ETag": whole.Headers["ETag"], "Repr-Digest": whole.Headers["Repr-Digest"]}}
}

// served is a Body, as streamed, that write answers with whatever status it finds. A status of 400 and more becomes the problem with that status.
func (a *api) served(write func(http.ResponseWriter, *http.Request) error) func(huma.Context) {
	return func(hc huma.Context) {
		x := exchangeOf(hc.Context())
		a.flow(hc, false, func(ctx context.Context, s *stream) error {
			r := requestOf(hc).Clone(ctx)
			if x.head {
				r.Method = http.MethodHead
			}
			return write(&content{stream: s, x: x}, r)
		})
	}
}

// content is the answer of served.
type content struct {
	*stream
	x       *exchange
	refused bool
}

func (c *content) Header() http.Header { return c.to.Header() }

func (c *content) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		c.to.WriteHeader(status)
		return
	}
	c.refused = true
	for _, name := range []string{"Content-Disposition", "Content-Length", "ETag", "Repr-Digest"} {
		c.Header().Del(name)
	}
	p := newProblem(status)
	p.RequestID = c.x.id
	p.write(c.to)
}

// Write leaves out what was written about a refusal.
func (c *content) Write(p []byte) (int, error) {
	if c.refused {
		return len(p), nil
	}
	return c.stream.Write(p)
}

// errorRecorder remembers the error of a failed read. http.ServeContent drops that error.
type errorRecorder struct {
	*io.SectionReader
	err error
}

func (r *errorRecorder) Read(p []byte) (int, error) {
	n, err := r.SectionReader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
