package main

import (
	"go/ast"
	"go/constant"
	"go/types"
	"regexp"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
)

var analyzer = &analysis.Analyzer{
	Name: "sqlcheck",
	Doc:  "reports SQL that is put together from strings, and SET that outlives its transaction",
	Run:  run,
}

func main() { unitchecker.Main(analyzer) }

func run(pass *analysis.Pass) (any, error) {
	c := checker{pass: pass, open: map[*types.Var]bool{}}
	for _, f := range pass.Files {
		c.collect(f)
	}
	for _, f := range pass.Files {
		if strings.HasSuffix(pass.Fset.Position(f.Pos()).Filename, "_test.go") {
			continue
		}
		allowed := c.allowed(f)
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				c.call(call, allowed)
			}
			return true
		})
	}
	return nil, nil
}

// call looks at the arguments of one call that are taken as SQL.
func (c *checker) call(call *ast.CallExpr, allowed map[int]bool) {
	sig, ok := c.pass.TypesInfo.TypeOf(call.Fun).(*types.Signature)
	if !ok {
		return
	}
	for i := range min(sig.Params().Len(), len(call.Args)) {
		arg := call.Args[i]
		if !takesSQL(sig.Params().At(i)) || allowed[c.pass.Fset.Position(arg.Pos()).Line] {
			continue
		}
		if !c.fixed(arg) {
			c.pass.Reportf(arg.Pos(), "SQL from strings: pass values as parameters, quote names with pgx.Identifier (or say why: //sqlcheck:allow)")
		} else if v := c.pass.TypesInfo.Types[arg].Value; v != nil && outlives(constant.StringVal(v)) {
			c.pass.Reportf(arg.Pos(), "a session-level SET outlives its transaction: use SET LOCAL or set_config(..., true)")
		}
	}
}

// takesSQL tells whether a function runs, or hands on, what it is given for this parameter as SQL.
func takesSQL(p *types.Var) bool {
	if b, ok := p.Type().Underlying().(*types.Basic); !ok || b.Info()&types.IsString == 0 {
		return false
	}
	switch p.Name() {
	case "sql":
		return true
	case "query":
		return p.Pkg() != nil && (p.Pkg().Path() == "database/sql" || strings.HasPrefix(p.Pkg().Path(), "github.com/jackc/pgx/"))
	}
	return false
}

var (
	sessionSet    = regexp.MustCompile(`(?i)(?:^|;)\s*SET\s+(\w+)`)
	sessionConfig = regexp.MustCompile(`(?i)\bset_config\s*\([^()]*,\s*(?:false|'f'|'false'|0)\s*\)`)
)

// outlives tells whether a statement changes a setting for longer than its transaction.
func outlives(sql string) bool {
	for _, m := range sessionSet.FindAllStringSubmatch(sql, -1) {
		switch strings.ToUpper(m[1]) {
		case "LOCAL", "CONSTRAINTS", "TRANSACTION":
		default:
			return true
		}
	}
	return sessionConfig.MatchString(sql)
}
