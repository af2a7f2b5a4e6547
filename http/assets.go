package http

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	redoc "github.com/mvrilo/go-redoc"
	swagger "github.com/swaggest/swgui/v5/static"
)

// asset is a file of a documentation page, from inside the program.
type asset struct {
	name  string
	media string
	gz    func() []byte // its bytes in gzip, made once
}

const javaScript = "text/javascript; charset=utf-8"

func swaggerAssets() []asset {
	return []asset{
		{"swagger-ui.css", "text/css; charset=utf-8", embedded("swagger-ui.css.gz")},
		{"swagger-ui-bundle.js", javaScript, embedded("swagger-ui-bundle.js.gz")},
		{"favicon-32x32.png", "image/png", compressed(embedded("favicon-32x32.png"))},
		{"start.js", javaScript, compressed(inline(swaggerStart))},
	}
}

func redocAssets() []asset {
	return []asset{
		{"redoc.js", javaScript, compressed(inline(redoc.JavaScript))},
		{"start.js", javaScript, compressed(inline(redocStart))},
	}
}

// serve answers with the file, which browsers keep and ask about again.
func (f asset) serve(c echo.Context) error {
	data, encoding := f.gz(), "gzip"
	if !strings.Contains(c.Request().Header.Get("Accept-Encoding"), "gzip") {
		plain, err := decompress(data)
		if err != nil {
			return fmt.Errorf("asset %s: %w", f.name, err)
		}
		data, encoding = plain, ""
	}
	h := c.Response().Header()
	h.Set("Content-Type", f.media)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	http.ServeContent(c.Response(), c.Request(), f.name, time.Time{}, bytes.NewReader(data))
	return nil
}

func embedded(name string) func() []byte {
	return sync.OnceValue(func() []byte {
		data, err := swagger.FS.ReadFile(name)
		if err != nil {
			panic(err) // compiled in, and asked for by every test of the page
		}
		return data
	})
}

func inline(s string) func() []byte { return func() []byte { return []byte(s) } }

func compressed(plain func() []byte) func() []byte {
	return sync.OnceValue(func() []byte {
		var buf bytes.Buffer
		w := gzip.NewWriter(&buf)
		_, err := w.Write(plain())
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			panic(err) // memory does not fail
		}
		return buf.Bytes()
	})
}

func decompress(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
