package pg_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/pg"
)

// A row that is written straight as JSON is byte for byte what encoding/json makes of the struct that the row would be.
func TestJSONOfRows(t *testing.T) {
	t.Parallel()
	db := open(t, newDatabase(t), 4)
	w := newWorkspace(t, db)
	type thing struct {
		ID      uuid.UUID       `json:"id"`
		Nobody  *uuid.UUID      `json:"nobody"`
		Text    string          `json:"text"`
		Day     *string         `json:"day"`
		At      time.Time       `json:"at"`
		Never   *time.Time      `json:"never"`
		Number  int             `json:"number"`
		Large   int64           `json:"large"`
		Is      bool            `json:"is"`
		IDs     []uuid.UUID     `json:"ids"`
		None    []uuid.UUID     `json:"none"`
		Texts   []string        `json:"texts"`
		Nothing []string        `json:"nothing"`
		Data    json.RawMessage `json:"data"`
	}
	const query = `select $1::uuid as id, null::uuid as nobody, $2::text as text, '2026-11-27'::date::text as day, $3::timestamptz as at, null::timestamptz as never,
		$4::int as number, $5::bigint as large, $6::bool as is, array[$1::uuid, $1::uuid] as ids, '{}'::uuid[] as none, array[$2::text, ''] as texts, null::text[] as nothing,
		'[{"n": 1, "kind": "blocks"}, null]'::jsonb as data`
	first := time.Date(1997, 2, 3, 4, 5, 6, 0, time.UTC)
	for i, text := range []string{"", "plain", `"quoted" \ back`, "line\nand\ttab\x01\x7f", "é\u2028 <b>&amp;</b> 👍🏽", strings.Repeat("x", 300)} {
		at := first.Add(time.Duration(i) * (24*time.Hour*2200 + 1234567*time.Microsecond))
		var rows []thing
		var shown []pg.JSON
		args := []any{uuid.New(), text, at, i * -1000, int64(i) << 50, i%2 == 0}
		if err := db.Read(t.Context(), w, pg.Rows(&rows, query, args...), pg.Rows(&shown, query, args...)); err != nil {
			t.Fatal(err)
		}
		rows[0].At = rows[0].At.UTC()
		rows[0].Data = json.RawMessage(`[{"n":1,"kind":"blocks"},null]`)
		var want strings.Builder
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(rows[0]); err != nil {
			t.Fatal(err)
		}
		if got := string(shown[0]) + "\n"; got != want.String() {
			t.Errorf("got  %s\nwant %s", got, want.String())
		}
	}
	var shown []pg.JSON
	if err := db.Read(t.Context(), w, pg.Rows(&shown, `select 1.5::numeric as number`)); err == nil || !strings.Contains(err.Error(), "number") {
		t.Errorf("a type of which no JSON is made: %s, %v", shown, err)
	}
}
