package redlock_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	// place is a file, and what is declared in it.
	place = regexp.MustCompile(`^([\w.-]+(?:/[\w.-]+)*\.(?:go|lua|txt|md))(?::([\w.]+))?$`)
	// folder is a path below internal, in a picture too.
	folder = regexp.MustCompile(`\binternal(?:/\w+)+(?:\.\w+)?`)
	// method is a name without its file.
	method = regexp.MustCompile(`^[A-Za-z]\w*\.[A-Za-z]\w*$`)
)

// docs/architecture.md names places as path/file.go:Symbol. Each file exists and
// declares the symbol; a method without a file is declared in one that the page
// names.
func TestArchitecture_EveryPlaceExists(t *testing.T) {
	text := harness.ReadFile(t, "docs/architecture.md")
	files := map[string]map[string]bool{} // what each declares
	named := 0
	eachSpan(text, func(line int, span string) {
		m := place.FindStringSubmatch(span)
		if m == nil {
			return
		}
		named++
		if files[m[1]] == nil {
			declared, err := declarations(m[1])
			if err != nil {
				t.Errorf("line %d: %v", line, err)
				declared = map[string]bool{}
			}
			files[m[1]] = declared
		}
		if m[2] != "" && !files[m[1]][m[2]] {
			t.Errorf("line %d: %s does not declare %s", line, m[1], m[2])
		}
	})
	if named < 100 {
		t.Errorf("the page names %d places only", named)
	}
	eachSpan(text, func(line int, span string) {
		if place.MatchString(span) || !method.MatchString(span) {
			return
		}
		for _, declared := range files {
			if declared[span] {
				return
			}
		}
		t.Errorf("line %d: no file that the page names declares %s", line, span)
	})
	for i, line := range strings.Split(text, "\n") {
		for _, path := range folder.FindAllString(line, -1) {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("line %d: %v", i+1, err)
			}
		}
	}
}

// eachSpan calls fn with each piece of inline code, and its line.
func eachSpan(text string, fn func(line int, span string)) {
	for i, line := range strings.Split(text, "\n") {
		for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
			fn(i+1, m[1])
		}
	}
}

// declarations are the names that a file declares at its top level: functions,
// methods and fields behind their type and a dot. Of a Lua script they are its
// functions; other files declare nothing.
func declarations(file string) (map[string]bool, error) {
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	switch filepath.Ext(file) {
	case ".go":
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range parsed.Decls {
			declare(names, d)
		}
	case ".lua":
		for _, m := range regexp.MustCompile(`(?m)^local function (\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names, nil
}

// declare adds what one declaration declares.
func declare(names map[string]bool, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			name = receiver(d.Recv.List[0].Type) + "." + name
		}
		names[name] = true
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					names[id.Name] = true
				}
			case *ast.TypeSpec:
				names[spec.Name.Name] = true
				for _, field := range fields(spec.Type) {
					names[spec.Name.Name+"."+field] = true
				}
			}
		}
	}
}

// receiver is the name of the type of a method's receiver.
func receiver(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		return receiver(expr.X)
	case *ast.IndexExpr:
		return receiver(expr.X)
	case *ast.Ident:
		return expr.Name
	}
	return ""
}

// fields are the names of the fields of a struct, or the methods of an
// interface.
func fields(expr ast.Expr) (names []string) {
	var list *ast.FieldList
	switch expr := expr.(type) {
	case *ast.StructType:
		list = expr.Fields
	case *ast.InterfaceType:
		list = expr.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		for _, id := range field.Names {
			names = append(names, id.Name)
		}
	}
	return names
}
