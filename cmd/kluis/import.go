package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kluis-eu/kluis/internal/upload"
)

// importFile is `kluis import FILE`.
type importFile struct {
	settings
	outside
	File    string            `arg:"" help:"What another tracker exported, - for standard input; or the ZIP of an export of Kluis, of which a workspace is made."`
	As      string            `name:"as" placeholder:"SLUG" help:"Of an export of Kluis: the name of the workspace that is made; default: the one that it had."`
	Trusted []string          `name:"key" placeholder:"FILE" sep:"none" help:"Of an export of Kluis: verifier keys of where it is from that you know, by one of which it must be signed. Without, it is checked with those in it: that it is whole, and not whose it is. May be repeated."`
	Verify  bool              `name:"verify-only" help:"Of an export of Kluis: check it, and load nothing."`
	URL     string            `default:"http://127.0.0.1:8080" env:"KLUIS_PUBLIC_URL" help:"The running server."`
	Token   string            `env:"KLUIS_TOKEN" help:"Of what another tracker exported: a session or API token of an admin of the workspace: the import goes there, as done by that admin. Better in the environment than as a flag, which others on the machine see."`
	Format  string            `help:"tracker (NDJSON, an action a line), jira, github or csv; left out, told by the file's name and its first bytes."`
	Source  string            `help:"Names where the file comes from, so that nothing is imported twice; default: the format."`
	Org     string            `help:"Of a tracker with several organisations, the one to import."`
	Mapping map[string]string `name:"column" placeholder:"NAME=FIELD" help:"Of a CSV: the field of a column; may be given for each. Fields: id, title, description, status, priority, project, parent, assignees, tags, start_on, due_on, estimate_minutes, created_at, created_by, completed_at."`
	Rejects string            `placeholder:"FILE" help:"Where to write the lines that cannot be imported, and why; default: FILE.rejects, beside it; import.rejects for standard input."`
}

// Run ends with 1 when a line was rejected.
func (f importFile) Run(ctx context.Context, out outputs) error {
	if zipped(f.File) {
		return f.load(ctx, out)
	}
	if f.Token == "" {
		return usageError{errors.New("say in KLUIS_TOKEN as whom: a session or API token of an admin of the workspace")}
	}
	from, name := io.Reader(os.Stdin), "standard input"
	if f.File != "-" {
		file, err := os.Open(f.File)
		if err != nil {
			return err
		}
		defer file.Close()
		from, name = file, f.File
	}
	start := bufio.NewReaderSize(from, 64<<10)
	if f.Format == "" {
		f.Format = formatOf(name, start)
	}
	told := 0
	done, err := upload.Run(ctx, upload.File{Server: strings.TrimRight(f.URL, "/"), Token: f.Token, Name: name, Bytes: start,
		Format: f.Format, Source: f.Source, Org: f.Org, Mapping: f.Mapping}, func(i upload.Import) {
		if i.Counts.Actions > told {
			told = i.Counts.Actions
			fmt.Fprintf(out.stderr, "%d actions read, %d rejected\n", told, i.Counts.Rejected)
		}
	})
	if ctx.Err() != nil {
		return errors.New("stopped: the server goes on with a file that it has in whole; run the same command again, and what is there already is not imported twice")
	}
	if err != nil {
		return err
	}
	for _, what := range slices.Sorted(maps.Keys(done.Counts.Played)) {
		fmt.Fprintf(out.stdout, "%-14s %d\n", what, done.Counts.Played[what])
	}
	fmt.Fprintf(out.stdout, "%-14s %d\n%-14s %d\n%-14s %d\n", "placeholders", done.Counts.People, "there already", done.Counts.Repeated, "rejected", done.Counts.Rejected)
	if done.Status == "failed" {
		return fmt.Errorf("the import failed: %s; run it again when that is mended, and it goes on", done.Failure)
	}
	if done.Counts.Rejected == 0 {
		return nil
	}
	rejects := f.Rejects
	switch {
	case rejects != "":
	case f.File == "-":
		rejects = "import.rejects"
	default:
		rejects = f.File + ".rejects"
	}
	if err := writeRejects(rejects, done.Rejects); err != nil {
		return err
	}
	return fmt.Errorf("%d lines cannot be imported: %s says which, and why", done.Counts.Rejected, rejects)
}

func writeRejects(path string, rejects []upload.Reject) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := json.NewEncoder(file)
	lines.SetEscapeHTML(false)
	for _, reject := range rejects {
		if err := lines.Encode(reject); err != nil {
			return err
		}
	}
	return nil
}

// formatOf guesses what a file is.
func formatOf(name string, start *bufio.Reader) string {
	if strings.EqualFold(filepath.Ext(name), ".csv") {
		return "csv"
	}
	head, _ := start.Peek(16 << 10) // what there is
	text := string(head)
	switch {
	case strings.Contains(text, `"do":`) || strings.Contains(text, `"do" :`):
		return "tracker"
	case strings.Contains(text, `"fields"`) || strings.Contains(text, `"startAt"`):
		return "jira"
	case strings.HasPrefix(strings.TrimSpace(text), "[") || strings.HasPrefix(strings.TrimSpace(text), "{"):
		return "github"
	}
	return "csv"
}
