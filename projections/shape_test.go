package projections

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// golden is what the folds of Shape make of every payload ever written, as a hash.
const golden = "3119499f2417cb0e38750e8b7bc174de0217bfef1d57af9f0b01721cedda6753"

// Whoever changes what the folds make of events that there are gives Shape the next number: otherwise read models keep the rows of
// the older fold, and older processes write on among those of the newer.
func TestShape(t *testing.T) {
	t.Parallel()
	sum := sha256.New()
	records := everyPayload(t)
	for _, m := range models {
		fold := reflect.ValueOf(m).MethodByName("Fold")
		write := func(records ...domain.Record) {
			state, err := json.Marshal(fold.Call([]reflect.Value{reflect.ValueOf(records)})[0].Interface())
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(sum, "%s\n", state)
		}
		fmt.Fprintln(sum, m.table(), m.columnList())
		for _, first := range records {
			id, changes := m.row(first)
			fmt.Fprintln(sum, domain.TypeOf(first.Event), id, changes)
			write(first)
			for _, second := range records {
				second.Position, second.Version, second.At = 2, 2, second.At.Add(time.Hour)
				write(first, second)
			}
		}
	}
	if now := hex.EncodeToString(sum.Sum(nil)); now != golden {
		t.Errorf("the folds make something else of events that there are: give Shape (%d) the next number, and golden the value %q. "+
			"When there is only a payload more, that no older fold knows, golden alone", Shape, now)
	}
}

// everyPayload is every payload of domain/testdata, each at the beginning of a stream of its noun.
func everyPayload(t *testing.T) (records []domain.Record) {
	t.Helper()
	files, err := filepath.Glob("../domain/testdata/events/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	thing := uuid.MustParse("01900000-0000-7000-8000-000000000001")
	streams := map[string]string{"workspace": domain.WorkspaceStream(thing), "project": domain.ProjectStream(thing), "task": domain.TaskStream(thing), "comment": domain.CommentStream(thing),
		"integration": domain.IntegrationStream(thing), "token": domain.TokenStream(thing), "member": domain.RosterStream, "tag": domain.TagsStream,
		"policy": domain.RosterStream}
	for _, file := range files {
		kind := strings.SplitN(filepath.Base(file), ".", 3)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		event, err := domain.Decode(kind[0]+"."+kind[1], data)
		if err != nil {
			t.Fatal(err)
		}
		stream := streams[kind[0]]
		if stream == "" {
			t.Fatalf("%s: no stream of such a noun", file)
		}
		records = append(records, domain.Record{Position: 1, Stream: stream, Version: 1, Actor: thing, Event: event,
			At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	}
	return records
}
