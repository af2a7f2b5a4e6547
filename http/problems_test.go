package http

import (
	"go/ast"
	"go/parser"
	source "go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every code with which any room refuses something has a page that says what it means, and every page is of such a code.
func TestEveryProblemHasAPage(t *testing.T) {
	said := codes(t)
	for code, where := range said {
		if _, known := aboutProblem(code); !known {
			t.Errorf("problems.go does not say what %s means, which %s refuses with", code, where)
		}
	}
	for code := range problems {
		if said[code] == "" {
			t.Errorf("nothing refuses with %s", code)
		}
	}
	s := newSite(t)
	for code := range said {
		if a := s.ask("GET", problemPath+code, "", "Authorization: -"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, code) {
			t.Errorf("%s: %d", code, a.StatusCode)
		}
	}
	if a := s.ask("GET", problemPath, "", "Authorization: -"); a.StatusCode != http.StatusOK || strings.Count(a.body, "<dt>") != len(problems)+1 {
		t.Errorf("all problems: %d", a.StatusCode)
	}
	s.ask("GET", problemPath+"no_such_code", "").problem(t, http.StatusNotFound, "not_found")
}

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// codes reads the code of every refusal in the source, with the file that it is in.
func codes(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, p := range plain {
		found[p.code] = "problem.go"
	}
	for o := range outages {
		found[string(o)] = "outage.go"
	}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "promises" || d.Name() == "data" || len(d.Name()) > 2 && strings.HasPrefix(d.Name(), ".")) {
			return firstOf(err, fs.SkipDir)
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(source.NewFileSet(), path, text, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is || len(call.Args) == 0 {
				return true
			}
			switch name := called(call); name {
			case "Refuse", "codedProblem":
				if code := literal(call.Args[1]); snakeCase.MatchString(code) {
					found[code] = path
				}
			case "Missing":
				if noun := literal(call.Args[0]); noun != "" {
					found[noun+"_not_found"] = path
				}
			}
			return true
		})
		return nil
	})
	if err != nil || len(found) < 50 {
		t.Fatal(len(found), err)
	}
	return found
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// called is the name of the function that is called, without its package.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

func literal(e ast.Expr) string {
	text, is := e.(*ast.BasicLit)
	if !is || text.Kind != source.STRING {
		return ""
	}
	value, _ := strconv.Unquote(text.Value)
	return value
}
