package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// checker knows of the package at hand which variables hold nothing but fixed SQL.
type checker struct {
	pass   *analysis.Pass
	values []value             // everything that is put into a variable, in the whole package
	open   map[*types.Var]bool // the variables being looked at now: stops a circle
}

// value is one value that is put into one variable or field; expr is nil where the value can't be told.
type value struct {
	to   *types.Var
	expr ast.Expr
}

// collect notes what the variables of one file are filled with.
func (c *checker) collect(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				c.put(left, pick(n.Rhs, i, len(n.Lhs)))
			}
		case *ast.GenDecl:
			for _, spec := range n.Specs {
				c.declared(n, spec)
			}
		case *ast.CompositeLit:
			c.filled(n)
		case *ast.RangeStmt:
			c.put(n.Key, nil)
			c.put(n.Value, nil)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				c.put(n.X, nil) // whoever has the address may write there
			}
		}
		return true
	})
}

// declared notes the variables of one `var` specification. What go:embed fills has no value here, and is fixed.
func (c *checker) declared(decl *ast.GenDecl, spec ast.Spec) {
	vs, ok := spec.(*ast.ValueSpec)
	if !ok || decl.Tok != token.VAR || len(vs.Values) == 0 {
		return
	}
	for i, name := range vs.Names {
		c.put(name, pick(vs.Values, i, len(vs.Names)))
	}
}

// filled notes the fields of one struct literal.
func (c *checker) filled(lit *ast.CompositeLit) {
	typ := c.pass.TypesInfo.TypeOf(lit)
	if p, ok := typ.Underlying().(*types.Pointer); ok {
		typ = p.Elem() // []*T{{...}}
	}
	fields, ok := typ.Underlying().(*types.Struct)
	if !ok {
		return
	}
	for i, elt := range lit.Elts {
		if kv, ok := elt.(*ast.KeyValueExpr); ok {
			c.put(kv.Key, kv.Value)
		} else {
			c.values = append(c.values, value{fields.Field(i).Origin(), elt})
		}
	}
}

// pick finds the i-th of n values, or nil where one call gives them all.
func pick(exprs []ast.Expr, i, n int) ast.Expr {
	if len(exprs) != n {
		return nil
	}
	return exprs[i]
}

func (c *checker) put(to, expr ast.Expr) {
	if v := c.variable(to); v != nil {
		c.values = append(c.values, value{v, expr})
	}
}

// variable finds the variable or field that an expression names, or nil.
func (c *checker) variable(e ast.Expr) *types.Var {
	if sel, ok := e.(*ast.SelectorExpr); ok {
		e = sel.Sel
	}
	if id, ok := e.(*ast.Ident); ok {
		if v, ok := c.pass.TypesInfo.ObjectOf(id).(*types.Var); ok {
			return v.Origin()
		}
	}
	return nil
}

// fixed tells whether the text of an expression is known when the program is compiled, but for numbers and
// quoted names.
func (c *checker) fixed(e ast.Expr) bool {
	if tv := c.pass.TypesInfo.Types[e]; tv.Value != nil {
		return true
	}
	if b, ok := c.pass.TypesInfo.TypeOf(e).Underlying().(*types.Basic); ok && b.Info()&types.IsNumeric != 0 {
		return true
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return c.fixed(e.X)
	case *ast.BinaryExpr:
		return e.Op == token.ADD && c.fixed(e.X) && c.fixed(e.Y)
	case *ast.CallExpr:
		return c.fixedCall(e)
	case *ast.Ident, *ast.SelectorExpr:
		return c.fixedVar(c.variable(e))
	}
	return false
}

// fixedCall tells it of a call: a quoted name, or fmt.Sprintf with nothing but fixed arguments.
func (c *checker) fixedCall(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	fn, ok := c.pass.TypesInfo.ObjectOf(sel.Sel).(*types.Func)
	if !ok {
		return false
	}
	switch fn.FullName() {
	case "(github.com/jackc/pgx/v5.Identifier).Sanitize":
		return true
	case "fmt.Sprintf":
		for _, arg := range call.Args {
			if !c.fixed(arg) {
				return false
			}
		}
		return !call.Ellipsis.IsValid()
	}
	return false
}

// fixedVar tells it of a variable or field of this package, by everything that is ever put into it. What
// other packages may write is out, a parameter is as good as its callers.
func (c *checker) fixedVar(v *types.Var) bool {
	if v == nil || v.Pkg() != c.pass.Pkg {
		return false
	}
	switch v.Kind() {
	case types.PackageVar, types.FieldVar:
		if v.Exported() {
			return false
		}
	case types.ParamVar:
		if !takesSQL(v) {
			return false
		}
	}
	if c.open[v] {
		return true // `sql = sql + " AND ..."` is as fixed as the rest of it
	}
	c.open[v] = true
	defer delete(c.open, v)
	for _, value := range c.values {
		if value.to == v && (value.expr == nil || !c.fixed(value.expr)) {
			return false
		}
	}
	return true
}

// allowed lists the lines of a file that may break the rule: those with the comment, and those right below.
func (c *checker) allowed(f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.Comments {
		for _, comment := range group.List {
			reason, ok := strings.CutPrefix(comment.Text, "//sqlcheck:allow")
			if !ok {
				continue
			}
			if strings.TrimSpace(reason) == "" {
				c.pass.Reportf(comment.Pos(), "sqlcheck:allow without a reason")
				continue
			}
			line := c.pass.Fset.Position(comment.Pos()).Line
			lines[line], lines[line+1] = true, true
		}
	}
	return lines
}
