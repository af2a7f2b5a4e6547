package domain_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/kluis-eu/kluis/domain"
)

var write = flag.Bool("write", false, "write the matrix of permissions into docs/roles.md")

// docs/roles.md shows the present matrix.
func TestMatrixInDocs(t *testing.T) {
	const file, begin, end = "../docs/roles.md", "-write writes them -->\n", "<!-- end of the matrix -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begin)
	shown, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the matrix", file)
	}
	if matrix() == shown {
		return
	}
	if !*write {
		t.Fatalf("%s does not show the matrix of domain/permission.go: run `go test ./domain -run TestMatrixInDocs -write`", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+matrix()+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

func matrix() string {
	head, rule := "\n| |", "|---|"
	for _, role := range domain.BuiltInRoles {
		head, rule = head+" "+role.Name+" |", rule+"---|"
	}
	lines := []string{head, rule}
	for _, p := range domain.Permissions {
		line := "| `" + p.String() + "` |"
		for _, role := range domain.BuiltInRoles {
			if scope := role.Grants.Scope(p); scope != domain.None {
				line += " " + string(scope)
			}
			line += " |"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n") + "\n\n"
}
