package projections

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

var write = flag.Bool("write", false, "write what the folds make into testdata/shape")

// A change of the result of the folds for existing events takes the next number of Shape. Otherwise read models keep the rows of the older fold, and
// older processes mix their rows with those of newer ones. Each read model has a file with the hash of the states that its folds make of every
// payload ever written. The file of the sums has the hash of the SQL that adds to them.
func TestShape(t *testing.T) {
	t.Parallel()
	records := everyPayload(t)
	shapes := map[string]string{timeSums.table(): fmt.Sprintf("%x", sha256.Sum256([]byte(timeSums.columns+timeSums.adds)))}
	for _, m := range models {
		shapes[m.table()] = shapeOf(t, m, records)
	}
	for table, now := range shapes {
		file := filepath.Join("testdata", "shape", table+".sha256")
		if *write {
			if err := os.WriteFile(file, []byte(now+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		switch strings.TrimSpace(string(golden)) {
		case now:
		case "":
			t.Errorf("projections/%s is not there: write it with `go test ./projections -run TestShape -write`", file)
		default:
			t.Errorf("the folds of %s make something else of events that there are: give Shape (%d) the next number, and write %s anew with "+
				"`go test ./projections -run TestShape -write`. When there is only a payload or a read model more, that no older fold knows, write the file alone", table, Shape, file)
		}
	}
}

// shapeOf gives the hash of the states that a read model makes of each record, and of each two records in a row.
func shapeOf(t *testing.T, m model, records []domain.Record) string {
	t.Helper()
	sum := sha256.New()
	fmt.Fprintln(sum, m.table(), m.columnList())
	records = slices.DeleteFunc(slices.Clone(records), func(r domain.Record) bool {
		_, changes := m.row(r)
		return !changes
	})
	fold := reflect.ValueOf(m).MethodByName("Fold")
	write := func(records ...domain.Record) {
		state, err := json.Marshal(fold.Call([]reflect.Value{reflect.ValueOf(records)})[0].Interface())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(sum, "%s\n", state)
	}
	for _, first := range records {
		id, _ := m.row(first)
		fmt.Fprintln(sum, domain.TypeOf(first.Event), id)
		write(first)
		for _, second := range records {
			second.Position, second.Version, second.At = 2, 2, second.At.Add(time.Hour)
			write(first, second)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// everyPayload gives every payload of domain/testdata, each at the beginning of a stream of its noun.
func everyPayload(t *testing.T) (records []domain.Record) {
	t.Helper()
	files, err := filepath.Glob("../domain/testdata/events/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	thing := uuid.MustParse("01900000-0000-7000-8000-000000000001")
	shared := map[string]string{"member": domain.RosterStream, "role": domain.RosterStream, "policy": domain.RosterStream, "export": domain.ExportsStream, "tag": domain.TagsStream, "storage": domain.StorageStream,
		"task.subtask_added": domain.SubtasksStream(thing), "task.external_taken": domain.ExternalStream(thing), "task.external_freed": domain.ExternalStream(thing)}
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
		stream := cmp.Or(shared[kind[0]+"."+kind[1]], shared[kind[0]], kind[0]+"-"+thing.String())
		records = append(records, domain.Record{Position: 1, Stream: stream, Version: 1, Actor: thing, Event: event,
			At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	}
	return records
}
