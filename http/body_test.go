package http

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMalformedBodies(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct {
		body string
		code string
	}{
		"missing":            {"", "missing_body"},
		"blank":              {" \n", "malformed_json"},
		"broken off":         {`{"title":"hunter2"`, "malformed_json"},
		"trailing":           {`{"title":"x"} hunter2`, "malformed_json"},
		"two values":         {`{"title":"x"}{"title":"y"}`, "malformed_json"},
		"single quotes":      {`{'title':'hunter2'}`, "malformed_json"},
		"comment":            {`{"title":"x"/*hunter2*/}`, "malformed_json"},
		"byte order mark":    {"\ufeff" + `{"title":"x"}`, "malformed_json"},
		"UTF-16":             {"\xff\xfe{\x00}\x00", "malformed_json"},
		"raw NUL":            {"{\"title\":\"hunter2\x00\"}", "malformed_json"},
		"escaped NUL":        {`{"title":"hunter2\u0000"}`, "malformed_json"},
		"NUL in a name":      {`{"title":"x","hunter2\u0000":1}`, "malformed_json"},
		"invalid UTF-8":      {"{\"title\":\"hunter2\xff\"}", "malformed_json"},
		"overlong UTF-8":     {"{\"title\":\"hunter2\xc0\x80\"}", "malformed_json"},
		"raw surrogate":      {"{\"title\":\"hunter2\xed\xa0\x80\"}", "malformed_json"},
		"lone high":          {`{"title":"hunter2\ud800"}`, "malformed_json"},
		"lone low":           {`{"title":"hunter2\udc00"}`, "malformed_json"},
		"two highs":          {`{"title":"\ud800\ud800"}`, "malformed_json"},
		"wrong order":        {`{"title":"\udc00\ud800"}`, "malformed_json"},
		"high, then escape":  {`{"title":"\ud800\n"}`, "malformed_json"},
		"equal names":        {`{"title":"hunter2","title":"y"}`, "malformed_json"},
		"equal when decoded": {`{"title":"hunter2","\u0074itle":"y"}`, "malformed_json"},
		"equal names deeper": {`{"title":"x","children":[{"name":"a","name":"b"}]}`, "malformed_json"},
		"deep":               {strings.Repeat("[", 33) + strings.Repeat("]", 33), "malformed_json"},
		"very deep":          {strings.Repeat(`{"a":`, 100_000), "malformed_json"},
		"no such number":     {`{"title":"x","count":1e999}`, "malformed_json"},
		"NaN":                {`{"title":"x","count":NaN}`, "malformed_json"},
	} {
		a := s.ask("POST", "/api/things", test.body)
		a.problem(t, 400, test.code)
		if strings.Contains(a.body, "hunter2") {
			t.Errorf("%s is echoed: %s", name, a.body)
		}
	}
}

func TestAcceptableBodies(t *testing.T) {
	s := newSite(t)
	for _, body := range []string{
		"\n {\"title\" : \"x\"}\r\n",
		`{"title":"\ud83d\ude00"}`, `{"title":"😀"}`, `{"title":"\\u0000"}`, `{"title":"\\\\ud800"}`,
		`{"title":"a\u0001\ufffd\uffff"}`,
		`{"title":"x","children":[{"name":"a"},{"name":"a"}]}`,
	} {
		if a := s.ask("POST", "/api/things", body); a.StatusCode != http.StatusCreated {
			t.Errorf("%s: %d %s", body, a.StatusCode, a.body)
		}
	}
	if a := s.ask("POST", "/api/things", `{"title":"<&> \u2028"}`); !strings.Contains(a.body, "<&>") {
		t.Errorf("the answer is escaped for HTML: %s", a.body)
	}
}

func TestMediaTypes(t *testing.T) {
	s := newSite(t)
	for media, status := range map[string]int{
		"application/json":                       201,
		"application/json; charset=utf-8":        201,
		"Application/JSON;charset=UTF-8":         201,
		"-":                                      201, // none: JSON is all there is
		"application/json; charset=iso-8859-1":   415,
		"application/x-www-form-urlencoded":      415,
		"text/plain":                             415,
		"application/xml":                        415,
		"application/json, text/plain":           415,
		"application/vnd.api+json":               415,
		"multipart/form-data; boundary=x":        415,
		"application/json; a=b+c; charset=utf-7": 415,
	} {
		a := s.ask("POST", "/api/things", `{"title":"x"}`, "Content-Type: "+media)
		if a.StatusCode != status {
			t.Errorf("%s: %d %s", media, a.StatusCode, a.body)
		}
		if status == 415 {
			a.problem(t, 415, "unsupported_media_type")
		}
	}
	s.ask("POST", "/api/things", `{"title":"x"}`, "Content-Encoding: gzip").problem(t, 415, "unsupported_media_type")
	s.ask("POST", "/api/things", `{"title":"x"}`, "Content-Type: application/json", "Content-Type: text/plain").problem(t, 415, "unsupported_media_type")
}

func TestLargeBodies(t *testing.T) {
	s := newSite(t)
	body := func(size int) string { return `{"title":"x"` + strings.Repeat(" ", size-13) + `}` }
	if a := s.ask("POST", "/api/things", body(defaultMaxBody)); a.StatusCode != http.StatusCreated {
		t.Errorf("of exactly the limit: %d", a.StatusCode)
	}
	s.ask("POST", "/api/things", body(defaultMaxBody+1)).problem(t, 413, "payload_too_large")

	r, err := http.NewRequest(http.MethodPost, s.URL+"/api/things", struct{ *strings.Reader }{strings.NewReader(body(defaultMaxBody + 1))})
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = -1 // chunked: the size is not announced
	r.Header.Set("Authorization", "Bearer admin")
	s.do(r).problem(t, 413, "payload_too_large")
}

// A body of a gigabyte is not read: who announces one gets the answer at once.
func TestAnnouncedSizeIsEnough(t *testing.T) {
	s := newSite(t)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/things HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nContent-Length: 1000000000\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, " 413 ") {
		t.Errorf("%q %v", line, err)
	}
}

// FuzzBody sends any bytes as a body. Whatever they are, the answer is a success or a problem of the
// caller's, and what is taken can be stored as it came.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"title":"x"}`, `{"title":"\ud83d\ude00","children":[{"name":"a"}]}`, `{"title":"\u0000"}`, "\xff", `[[[]]]`, `{"a":{"a":1,"a":2}}`,
		`{"title":"x","count":1e5,"due_on":"2024-01-31","at":"2024-01-31T00:00:00Z","tag_ids":["0197c0de-0000-7000-8000-00000000000a"]}`,
	} {
		f.Add([]byte(seed))
	}
	s := &site{log: &lockedBuffer{}}
	options := s.options()
	options.Log = slog.New(slog.DiscardHandler)
	server, err := newServer(options, []func(*api){fakes})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/api/things", bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer admin")
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r)
		if w.Code != 201 && w.Code != 400 && w.Code != 413 && w.Code != 422 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) || !utf8.Valid(w.Body.Bytes()) {
			t.Fatalf("not JSON: %s", w.Body)
		}
		if checkJSON(body) != nil {
			return
		}
		var value any
		if json.Unmarshal(body, &value) != nil {
			return // a number out of range
		}
		again, err := json.Marshal(value)
		if err != nil || bytes.Contains(again, []byte(`\u0000`)) && !bytes.Contains(body, []byte(`\\u0000`)) {
			t.Fatalf("taken: %q", body)
		}
		if bytes.Contains(again, []byte("\ufffd")) && !bytes.Contains(bytes.ToLower(body), []byte("fffd")) && !bytes.Contains(body, []byte("\ufffd")) {
			t.Fatalf("replaced: %q", body)
		}
	})
}
