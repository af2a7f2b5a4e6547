package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const jsonType = "application/json"

// readBody bounds the size and the time of a body and checks what it is. JSON is read here, whole, and
// must be exactly JSON: huma then reads the same bytes from memory. Other bodies are read by their handlers.
func (a *api) readBody(ctx huma.Context, next func(huma.Context)) {
	op, r := ctx.Operation(), requestOf(ctx)
	if op.RequestBody == nil {
		next(ctx)
		return
	}
	timeout, _ := op.Metadata[bodyTimeoutKey].(time.Duration)
	// net/http takes the deadline away at the end of the body; errors mean that there is no connection
	_ = ctx.SetReadDeadline(time.Now().Add(timeout))
	limit, _ := op.Metadata[maxBodyKey].(int64)
	if r.ContentLength > limit && op.RequestBody.Content[formType] != nil {
		refuse(ctx, brokenForm(errTooLarge))
		return
	} else if r.ContentLength > limit {
		refuse(ctx, newProblem(http.StatusRequestEntityTooLarge))
		return
	}
	body := &limitedBody{ReadCloser: r.Body, left: limit, x: exchangeOf(ctx.Context())}
	r.Body = body
	media, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if _, ok := op.RequestBody.Content[jsonType]; ok {
		data, err := readJSON(r, op.RequestBody.Required)
		if err != nil {
			refuse(ctx, err)
			return
		}
		data = plainIntegers(data)
		if err := a.refuseNulls(op.RequestBody.Content[jsonType].Schema, data); err != nil {
			refuse(ctx, err)
			return
		}
		body.x.body = data
		r.Body = io.NopCloser(bytes.NewReader(data))
		r.Header.Set("Content-Type", jsonType)
	} else if op.RequestBody.Content[media] == nil {
		refuse(ctx, newProblem(http.StatusUnsupportedMediaType))
		return
	} else if media == formType {
		body.x.parts = newForm(paced(ctx, body, timeout), params["boundary"])
	}
	next(ctx)
}

// readJSON gives the whole body, or the problem with it.
func readJSON(r *http.Request, required bool) ([]byte, error) {
	data, err := io.ReadAll(r.Body)
	var timeout net.Error
	switch {
	case errors.Is(err, errTooLarge):
		return nil, newProblem(http.StatusRequestEntityTooLarge)
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, newProblem(http.StatusRequestTimeout)
	case err != nil: // the caller broke off
		return nil, newProblem(http.StatusBadRequest)
	case len(data) == 0 && required:
		return nil, codedProblem(http.StatusBadRequest, "missing_body", "the request needs a JSON body")
	case len(data) == 0:
		return nil, nil
	case !declaresJSON(r.Header):
		return nil, codedProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", "the request body must be application/json in UTF-8, not compressed")
	}
	if err := checkJSON(data); err != nil {
		return nil, codedProblem(http.StatusBadRequest, "malformed_json", "the request body is not acceptable JSON: "+err.Error())
	}
	return data, nil
}

// declaresJSON tells whether the headers announce JSON in UTF-8, or announce nothing.
func declaresJSON(h http.Header) bool {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	values := h.Values("Content-Type")
	if len(values) == 0 {
		return true
	}
	media, params, err := mime.ParseMediaType(values[0])
	charset, ok := params["charset"]
	return err == nil && len(values) == 1 && media == jsonType && (!ok || strings.EqualFold(charset, "utf-8"))
}

var errTooLarge = errors.New("the body is larger than its limit")

// limitedBody fails after its limit, and leaves a note for those who see only that reading failed.
type limitedBody struct {
	io.ReadCloser
	left int64
	x    *exchange
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left+1 { // one more than allowed shows that there is more
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.x.tooLarge = true
		return n, errTooLarge
	}
	return n, err
}

// mismatch begins the message of a value that the schema allows and the Go type does not hold, such as
// 1e30 for an int. A JSON pointer follows. faultOf reads it; huma passes only texts on.
const mismatch = "does not fit at "

// buffers are for answers while they are written: net/http keeps nothing of them.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// jsonFormat encodes and decodes bodies. A body that it decodes has passed checkJSON.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		if own, is := v.(interface {
			appendJSON(out []byte) ([]byte, error)
		}); is {
			room := buffers.Get().(*[]byte)
			defer buffers.Put(room)
			data, err := own.appendJSON((*room)[:0])
			if err == nil {
				data = append(data, '\n')
				_, err = w.Write(data)
			}
			*room = data
			return err
		}
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	},
	Unmarshal: func(data []byte, v any) error {
		err := json.Unmarshal(data, v)
		if err == nil {
			return nil
		}
		pointer := "" // all of it: a type's own UnmarshalText or UnmarshalJSON failed, which does not say where
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			pointer = "/" + strings.ReplaceAll(escapePointer.Replace(wrong.Field), ".", "/")
		}
		return errors.New(mismatch + pointer)
	},
}
