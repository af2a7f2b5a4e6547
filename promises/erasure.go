package promises

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
)

// found is where a text is.
type found struct{ Place, Text string }

// everywhere looks for texts in every column of every table, in clear, and as Base64 and hexadecimal digits write them; in the mails that wait,
// opened; and in the names and bytes of the files of the blobs and of what is kept outside of the database.
func (p *process) everywhere(t tester, texts ...string) (all []found) {
	t.Helper()
	for schema, tables := range p.tables(t) {
		for _, table := range tables {
			if err := p.in(schema, func(tx pgx.Tx) error {
				//sqlcheck:allow names out of the catalogue
				rows, err := tx.Query(context.Background(), fmt.Sprintf(`select row_to_json(t)::text from %s.%s t`, schema, pgx.Identifier{table}.Sanitize()))
				if err != nil {
					return err
				}
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				for _, line := range lines {
					all = append(all, lookFor([]byte(p.opened(line)), schema+"."+table, texts)...)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, folder := range p.site.folders() {
		if err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			all = append(all, lookFor([]byte(path), path, texts)...)
			if err == nil && !d.IsDir() {
				all = append(all, lookFor(must(os.ReadFile(path)), path, texts)...)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// tables are the tables of the database, by schema.
func (p *process) tables(t tester) map[string][]string {
	t.Helper()
	var rows []struct{ Schema, Name string }
	if err := p.db.Control(context.Background(), func(tx pgx.Tx) error {
		found, _ := tx.Query(context.Background(), `select n.nspname::text as schema, c.relname::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.relkind in ('r', 'p') and n.nspname ~ '^(kluis|ws_)' order by 1, 2`)
		var err error
		rows, err = pgx.CollectRows(found, pgx.RowToStructByPos[struct{ Schema, Name string }])
		return err
	}); err != nil {
		t.Fatal(err)
	}
	tables := map[string][]string{}
	for _, row := range rows {
		tables[row.Schema] = append(tables[row.Schema], row.Name)
	}
	return tables
}

// in runs fn where a schema can be read.
func (p *process) in(schema string, fn func(pgx.Tx) error) error {
	if schema == "kluis_jobs" {
		return p.db.Control(context.Background(), fn)
	}
	return p.db.Own(context.Background(), schema, fn)
}

var sealedMail = regexp.MustCompile(`"sealed": ?"([^"]+)"`)

// opened is a row with the mail that it holds, if it does, opened.
func (p *process) opened(row string) string {
	if sealed := sealedMail.FindStringSubmatch(row); sealed != nil {
		plain, _ := p.keys.Open("kluis/mail", sealed[1]) // nothing of a sign-up's
		row += string(plain)
	}
	return row
}

func lookFor(in []byte, place string, texts []string) (all []found) {
	for _, text := range texts {
		forms := []string{text, base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text))}
		if slices.ContainsFunc(forms, func(form string) bool { return bytes.Contains(in, []byte(form)) }) {
			all = append(all, found{place, text})
		}
	}
	return all
}

// folders are those outside of the database.
func (s *site) folders() []string { return []string{s.blobs, s.keptIn} }

// ledgered tells whether a member's, or with uuid.Nil a workspace's, erasure is in the ledger.
func (c *client) ledgered(t tester) bool {
	t.Helper()
	return must(c.site.kept.Erasure(context.Background(), c.workspace.ID, c.id)) != nil
}

// rowsOf counts the rows about a member that the registry of data says are deleted with the member.
func (c *client) rowsOf(t tester) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, place := range domain.Places(domain.InWorkspace) {
		if place.Ending != domain.Deleted {
			continue
		}
		for _, column := range place.About {
			var n int
			if err := c.db.Own(context.Background(), c.workspace.Schema(), func(tx pgx.Tx) error {
				//sqlcheck:allow names out of the registry
				return tx.QueryRow(context.Background(), fmt.Sprintf(`select count(*) from %s where %s = $1`, place.Name, column), c.id).Scan(&n)
			}); err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				counts[place.Name] += n
			}
		}
	}
	return counts
}
