package commands

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"slices"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/pg"
	"github.com/kluis-eu/kluis/internal/shown"
	"github.com/kluis-eu/kluis/projections"
)

// row is a row of a read model as an export has it: see exportedColumns.
type row map[string]json.RawMessage

const labelColumn = "label"

// exportedColumns are the columns of a read model that an export has: all but the secret ones, and a label.
func exportedColumns(table string) []string {
	columns := slices.DeleteFunc(slices.Clone(projections.Columns(table)), func(column string) bool {
		return domain.Secret(domain.InWorkspace, table, column)
	})
	return append(columns, labelColumn)
}

// rows turns stored rows into those of an export. Names and addresses of members are in clear, and are empty for an erased member.
func (c *Commands) rows(ctx context.Context, w pg.Workspace, stored []projections.StoredRow) ([]row, error) {
	var members []domain.Member
	for _, s := range stored {
		if m, is := s.State.(domain.Member); is {
			members = append(members, m)
		}
	}
	people := map[uuid.UUID]Person{}
	if len(members) > 0 {
		var err error
		if people, err = c.OpenMembers(ctx, w, members); err != nil {
			return nil, err
		}
	}
	all := make([]row, len(stored))
	for i, s := range stored {
		label := labelOf(s.State)
		if m, is := s.State.(domain.Member); is {
			person, there := people[m.ID]
			if !there {
				label = Erased
			}
			m.Email, m.FullName = domain.Personal(person.Email), domain.Personal(person.FullName)
			s.State = m
		}
		text, err := json.Marshal(s.State)
		if err == nil {
			err = json.Unmarshal(text, &all[i])
		}
		if err != nil {
			return nil, err
		}
		if at, has := all[i]["deleted_at"]; label == "" && has && string(at) != "null" {
			label = "deleted"
		}
		all[i][labelColumn], _ = json.Marshal(label) // a string cannot fail
	}
	return all, nil
}

// labelOf is the label of a thing that is in the trash or gone, in the words of its noun. The label is empty for a noun without such words, whose
// column deleted_at says it.
func labelOf(state any) string {
	gone := func(is bool, label string) string {
		if is {
			return label
		}
		return ""
	}
	switch s := state.(type) {
	case domain.Member:
		return gone(s.Status != domain.Active, s.Status)
	case domain.Task:
		return gone(s.DeletedAt != nil, "in the trash")
	case domain.Attachment:
		return gone(s.DeletedAt != nil, "deleted, without its bytes")
	case domain.Tag:
		return gone(s.DeletedAt != nil, "deleted, or merged")
	case domain.Integration:
		return gone(s.DisconnectedAt != nil, "disconnected")
	case domain.Token:
		return gone(s.RevokedAt != nil, "revoked")
	}
	return ""
}

// appendJSON appends the row as a JSON object, with its columns in order.
func (r row) appendJSON(to []byte, columns []string) []byte {
	for i, column := range columns {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		to = append(append(append(to, before, '"'), column...), '"', ':')
		to = append(to, r[column]...)
	}
	return append(to, '}')
}

// cells gives the columns of the row as cells of a spreadsheet.
func (r row) cells(columns []string) []string {
	cells := make([]string, len(columns))
	for i, column := range columns {
		var text string
		switch value := r[column]; {
		case bytes.Equal(value, []byte("null")):
		case json.Unmarshal(value, &text) == nil:
			cells[i] = shown.Cell(text)
		default:
			cells[i] = string(value)
		}
	}
	return cells
}

// table writes rows one page at a time: as a JSON array with an object on each line, or as CSV (RFC 4180).
type table struct {
	to      io.Writer
	columns []string
	csv     *csv.Writer // nil for JSON
	line    []byte
	n       int
}

func (t *table) begin() error {
	if t.csv == nil {
		_, err := io.WriteString(t.to, "[")
		return err
	}
	t.csv.UseCRLF = true
	return t.csv.Write(t.columns)
}

func (t *table) add(rows []row) error {
	for _, r := range rows {
		t.n++
		if t.csv != nil {
			if err := t.csv.Write(r.cells(t.columns)); err != nil {
				return err
			}
			continue
		}
		t.line = append(t.line[:0], ",\n"...)
		if t.n == 1 {
			t.line = t.line[1:]
		}
		t.line = r.appendJSON(t.line, t.columns)
		if _, err := t.to.Write(t.line); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) end() error {
	if t.csv == nil {
		_, err := io.WriteString(t.to, "\n]\n")
		return err
	}
	t.csv.Flush()
	return t.csv.Error()
}
