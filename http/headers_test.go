package http

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestIfMatch(t *testing.T) {
	s := newSite(t)
	for header, want := range map[string]string{
		`"3"`: "version 3;", `W/"3"`: "version 3;", `*`: "version 0;", `-`: "version 0;",
		`"3", "9999"`: "version 3 9999;", `"9999",W/"3"`: "version 9999 3;", `"3-gzip"`: "version 3;", `W/"3-br" ,	"4"`: "version 3 4;",
	} {
		if a := s.ask("PATCH", someThing, `{}`, "If-Match: "+header); !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", header, a.StatusCode, a.body)
		}
	}
	for _, header := range []string{`3`, `"0"`, `"-1"`, `"hunter2"`, `"3" "4"`, `"3",`, `,"3"`, `"3", *`, `"3-hunter2"`, `"3"` + strings.Repeat(`, "3"`, 20), `"03"`, `w/"3"`, `"9999999999999999999999"`, "", `"3`} {
		a := s.ask("PATCH", someThing, `{}`, "If-Match: "+header)
		p := a.problem(t, 422, "invalid")
		if len(p.Errors) != 1 || p.Errors[0].In != "header" || p.Errors[0].Pointer != "/If-Match" || strings.Contains(a.body, "hunter2") {
			t.Errorf("%s: %s", header, a.body)
		}
	}
	s.ask("PATCH", someThing, `{}`, `If-Match: "3"`, `If-Match: "4"`).problem(t, 422, "invalid")
}

func TestIdempotencyKey(t *testing.T) {
	s := newSite(t)
	for _, key := range []string{"-", "k", "a key with spaces", strings.Repeat("k", 200)} {
		if a := s.ask("POST", "/api/things", `{"title":"x"}`, "Idempotency-Key: "+key); a.StatusCode != http.StatusCreated {
			t.Errorf("%q: %d %s", key, a.StatusCode, a.body)
		}
	}
	for _, key := range []string{"", strings.Repeat("k", 201), "hunter2é", "hunter2\xff", "a\tb"} {
		a := s.ask("POST", "/api/things", `{"title":"x"}`, "Idempotency-Key: "+key)
		if p := a.problem(t, 422, "invalid"); p.Errors[0].Pointer != "/Idempotency-Key" || strings.Contains(a.body, "hunter2") {
			t.Errorf("%q: %s", key, a.body)
		}
	}
}

func TestAnswersOfCommands(t *testing.T) {
	s := newSite(t)
	created := s.ask("POST", "/api/things", `{"title":"x"}`)
	if created.Header.Get("Kluis-Position") != "7" || created.Header.Get("ETag") != `"1"` {
		t.Error(created.Header)
	}
	deleted := s.ask("DELETE", someThing, "")
	if _, ok := deleted.Header["Etag"]; ok || deleted.Header.Get("Kluis-Position") != "9" || deleted.body != "" {
		t.Error(deleted.Header, deleted.body)
	}
	if got := queryHeadersAt(5, 3, 2); got != (Shown{Position: 5, Behind: "3", ETag: `"2"`}) {
		t.Error(got)
	}
	if got := queryHeadersAt(5, 0, 0); got != (Shown{Position: 5}) {
		t.Error(got)
	}
}

func TestPatchFields(t *testing.T) {
	s := newSite(t)
	for body, want := range map[string]string{
		`{}`:                              "version 0;",
		`{"title":"a"}`:                   "version 0; title a",
		`{"due_on":null}`:                 "version 0; no due_on",
		`{"due_on":"2024-02-29"}`:         "version 0; due_on 2024-02-29",
		`{"parent_id":null}`:              "version 0;",
		`{"parent_id":"` + otherID + `"}`: "version 0; parent " + otherID,
		`{"title":"b","due_on":null}`:     "version 0; title b no due_on",
	} {
		var got struct{ Note string }
		a := s.ask("PATCH", someThing, body)
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Note != want {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	s.ask("PATCH", someThing, `{"title":""}`).problem(t, 422, "invalid")
	s.ask("PATCH", someThing, `{"due_on":""}`).problem(t, 422, "invalid")
}

const otherID = "0197c0de-0000-7000-8000-00000000000c"

func TestListsPageThroughEverythingOnce(t *testing.T) {
	s := newSite(t)
	for _, limit := range []int{1, 7, 59, 60, 61, 200} {
		seen := 0
		target := fmt.Sprintf("/api/things?limit=%d", limit)
		for cursor := ""; ; {
			var got struct {
				Items      []thing
				NextCursor *string `json:"next_cursor"`
			}
			a := s.ask("GET", target+cursor, "")
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err, a.body)
			}
			for _, item := range got.Items {
				if seen++; item.Title != fmt.Sprint(seen) {
					t.Fatalf("item %d is %s", seen, item.Title)
				}
			}
			if got.NextCursor == nil {
				break
			}
			cursor = "&cursor=" + *got.NextCursor
		}
		if seen != 60 {
			t.Errorf("limit %d: %d items", limit, seen)
		}
	}
}

func TestCursorsAreOurs(t *testing.T) {
	s := newSite(t)
	for _, cursor := range []string{"", "hunter2", "Mg==", "M", "bnVsbA", "IjIi", "MS4w", "LTA", "e30", strings.Repeat("MTEx", 300), "Mg%00"} {
		if a := s.ask("GET", "/api/things?cursor="+cursor, ""); a.StatusCode != http.StatusUnprocessableEntity && a.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %d", cursor, a.StatusCode)
		}
	}
	type key struct {
		At string    `json:"at"`
		ID uuid.UUID `json:"id"`
	}
	after := key{"2024-01-01", uuid.MustParse(otherID)}
	sent := Cursor[key]{After: after, list: "this"}.String()
	got := Listing[key]{Cursor: Cursor[key]{text: sent}}
	if err := got.bind("this"); err != nil || got.Cursor.After != after || !got.Cursor.Given {
		t.Error(got, err)
	}
	another := Listing[key]{Cursor: Cursor[key]{text: sent}}
	if err := another.bind("that"); err == nil {
		t.Error("a cursor of another list was taken")
	}
	other := Listing[uuid.UUID]{Cursor: Cursor[uuid.UUID]{text: sent}}
	if err := other.bind("this"); err == nil {
		t.Error("a cursor of another kind was taken")
	}
}
