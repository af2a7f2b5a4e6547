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
	File    string            `arg:"" help:"The export of another tracker (- for standard input), or the ZIP of an export of Kluis, from which a workspace is made."`
	As      string            `name:"as" placeholder:"SLUG" help:"For an export of Kluis: the name of the new workspace; default: its former name."`
	Trusted []string          `name:"key" placeholder:"FILE" sep:"none" help:"For an export of Kluis: verifier keys that you know, one of which must have signed it. Without this flag it is checked with the keys in it, which proves that it is complete, but not who made it. May be repeated."`
	Verify  bool              `name:"verify-only" help:"For an export of Kluis: check it, and load nothing."`
	URL     string            `default:"http://127.0.0.1:8080" env:"KLUIS_PUBLIC_URL" help:"The running server."`
	Token   string            `env:"KLUIS_TOKEN" help:"For the export of another tracker: a session or API token of an admin of the workspace, who is the author of the import. Set it in the environment, because other users of the machine see flags."`
	Format  string            `help:"tracker (NDJSON, one action on a line), jira, github or csv; default: told by the name and the first bytes of the file."`
	Source  string            `help:"A name for the origin of the file, so that nothing is imported twice; default: the format."`
	Org     string            `help:"The organisation to import, when the file has several."`
	Mapping map[string]string `name:"column" placeholder:"NAME=FIELD" help:"For a CSV: the field of a column. May be repeated. Fields: id, title, description, status, priority, project, parent, assignees, tags, start_on, due_on, estimate_minutes, created_at, created_by, completed_at."`
	Rejects string            `placeholder:"FILE" help:"Where to write the lines that cannot be imported, with the reasons; default: FILE.rejects, or import.rejects for standard input."`
}

// Run fails when a line was rejected.
func (f importFile) Run(ctx context.Context, out outputs) error {
	if zipped(f.File) {
		return f.load(ctx, out)
	}
	if f.Token == "" {
		return usageError{errors.New("set KLUIS_TOKEN to a session or API token of an admin of the workspace")}
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
		return errors.New("stopped: a server that has the whole file goes on with it; run the same command again to wait for it, and nothing is imported twice")
	}
	if err != nil {
		return err
	}
	for _, what := range slices.Sorted(maps.Keys(done.Counts.Played)) {
		fmt.Fprintf(out.stdout, "%-14s %d\n", what, done.Counts.Played[what])
	}
	fmt.Fprintf(out.stdout, "%-14s %d\n%-14s %d\n%-14s %d\n", "placeholders", done.Counts.People, "there already", done.Counts.Repeated, "rejected", done.Counts.Rejected)
	if done.Status == "failed" {
		return fmt.Errorf("the import failed: %s; run the same command again when that is mended, and it goes on", done.Failure)
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

// formatOf guesses the format of a file.
func formatOf(name string, start *bufio.Reader) string {
	if strings.EqualFold(filepath.Ext(name), ".csv") {
		return "csv"
	}
	head, _ := start.Peek(16 << 10) // a shorter file gives all of it
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
