package promises

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/blob"
	"github.com/kluis-eu/kluis/internal/mail"
)

// Every column of every table, of the control schema and of a workspace, is in one category of data, and the registry names no other:
// what is exported, told, erased and recorded follows from it.
func TestEveryColumnHasACategory(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 1, false)[0]
	ada := p.signUp(t)
	for kind, schema := range map[domain.PlaceKind]string{domain.InControl: "kluis", domain.InWorkspace: ada.workspace.Schema()} {
		var columns []string
		rows, _ := p.db.Pool().Query(t.Context(), `select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
			where c.relnamespace = $1::text::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and a.attnum > 0 and not a.attisdropped`, schema)
		columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(columns) == 0 {
			t.Fatalf("%d columns, %v", len(columns), err)
		}
		lacking := map[string][]string{}
		for _, column := range columns {
			table, field, _ := strings.Cut(column, ".")
			if len(domain.CategoriesOf(kind, table, field)) != 1 {
				lacking[table] = append(lacking[table], field)
			}
		}
		for table, fields := range lacking {
			t.Errorf("one category of domain/data_*.go, and only one, needs for the table %s (%s) the columns %q: a table of a workspace is told there as\n"+
				"\ttable(%q, \"its columns\").about(\"those with the id of a member\"),", table, kind, strings.Join(fields, " "), table)
		}
		for _, place := range domain.Places(kind) {
			for _, field := range place.Fields {
				if !slices.Contains(columns, place.Name+"."+field) {
					t.Errorf("the table %s (%s) has no column %s", place.Name, kind, field)
				}
			}
		}
	}
}

// So is every kind of blob: a store takes no other (blob.NewKind).
func TestEveryBlobHasACategory(t *testing.T) {
	t.Parallel()
	var made, said []string
	for _, kind := range blob.Kinds() {
		made = append(made, kind.Pattern)
	}
	for _, place := range domain.Places(domain.InBlobs) {
		said = append(said, place.Name)
	}
	slices.Sort(made)
	slices.Sort(said)
	if !slices.Equal(made, said) {
		t.Errorf("the kinds of blobs are %q, and those in a category of domain/data_*.go %q", made, said)
	}
}

// So is every value of every mail, and every argument of the job that sends them, which is the only one.
func TestEveryMailHasACategory(t *testing.T) {
	t.Parallel()
	for template, values := range mail.Templates() {
		for _, value := range append(values, "To") {
			if n := len(domain.CategoriesOf(domain.InMail, template, value)); n != 1 {
				t.Errorf("%s of the mail %s is in %d categories, and belongs in one", value, template, n)
			}
		}
	}
	var arguments []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[mail.Job]()) {
		if field.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		arguments = append(arguments, name)
		if n := len(domain.CategoriesOf(domain.InJobs, mail.Job{}.Kind(), name)); n != 1 {
			t.Errorf("%s of the job that sends mails is in %d categories, and belongs in one", name, n)
		}
	}
	for _, place := range domain.Places(domain.InJobs) {
		for _, field := range place.Fields {
			if place.Name != (mail.Job{}).Kind() || !slices.Contains(arguments, field) {
				t.Errorf("the registry has %s of the job %s, and there is none", field, place.Name)
			}
		}
	}
}
